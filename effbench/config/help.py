"""The help page: axes and keys, from their declarations."""

from __future__ import annotations

from effbench.config.command_line import declared_axes, members

_KEYS = """\
keys (key=value; several values, as in model=lenet_5,small_cnn, multiply the runs)
  task=             {tasks}: what networks are for; brings its own network and data, where none are named
  model=            {models}
                    model.<option>= sets an option; model._target_=my_package.my_net takes your own network
  data=             {data}
                    data.root= where it lies, data.side= base side in pixels, data.split_seed=
  recipe=           {recipes}; recipe.rounds=3 prunes and finetunes in three rounds
  stage.<s>.<o>=    options of a technique: stage.prune.criterion=random, stage.quantize.scheme=affine, …
                    stage.<s>.layers={{conv1:8,classifier:skip}}: other values for layers by name, * for any; or skip
  seed=0,1,2        repeats every point with other initial weights and another order of the data
  device=           auto, cpu, cuda, cuda:N or mps
  coder=            none, huffman (default), ans or context: the entropy coder of the run's file
  train=            {trainings}: how networks are trained; each says in conf/train where it is from
  train.*           epochs, lr, batch_size, weight_decay, precision, layout, threads, fraction; decay_norms,
                    warm_up_epochs, label_smoothing, mixup, cutmix, clip, ema
                    stop_after=5 ends it after so many epochs no better on validation, keep=best takes the best one
                    curves=training, validation or none: what is logged by epoch while a run goes on; checkpoint=60: the
                    seconds between checkpoints, from which a training that was ended goes on (null: none)
  train.optimizer=  {optimizers}, a class of torch.optim, or {{_target_: my.Optimizer, option: …}}; train.lr is its rate
                    train.optimizer.<option>= sets an option; so it is with the following ones
  train.scheduler=  {schedulers}, or of torch.optim.lr_scheduler; train.schedule_by=step or epoch
  train.loss=       {losses}, or of torch.nn: takes outputs and targets
  train.augment=    {augments}, or of torchvision.transforms.v2, or a list: for each image alone
  finetune.*        epochs, lr; and as train.*, whose values it has unless they are given
  tolerance=0.02    the loss of the task's quality (a fraction) at which a point counts as saturated
  engine=           {engines}; measure.batch=1,8 measure.threads=1,2 measure.seconds=1: measured within each run
                    measure.memory=2GB: models measured together (default: half of the free memory); more go in groups
                    engine.<name>.<option>= sets an option of an engine
  tracking.uri=     where MLflow is (default: MLFLOW_TRACKING_URI, else mlflow.db here); tracking.experiment=
                    tracking.artifacts= where the files of a new experiment go, such as s3://bucket
  store.root=       where models and results are kept (default .effbench); python -m effbench.store lists and clears it
  store.keep=       needed (default) drops networks that no point ends in once their points are done; all keeps them
  store.limit=20GB  a ceiling: networks that were not used for longest go first; results stay
  sweep.jobs=       runs at once: auto (default) or a number; hydra/launcher=joblib has Hydra spread them
  sweep.timeout=    seconds that a run may take; one that takes longer fails, and the sweep goes on
  dry_run=true      prints the plan: what is kept already, what would run, what would be measured
"""

_EXAMPLES = """\
examples
  python -m effbench.sweep +prune=0.1,0.5,0.9
  python -m effbench.sweep +prune=0.5,0.9 +bits=8,4,2 +seed=0,1,2
  python -m effbench.sweep +alpha=0.25,0.5,0.75 model=mobilenet_v1 data=cifar10 data.root=data/cifar10

The same command again goes on where it was stopped, and does nothing twice.
exit status: 0, 1 when runs failed, 2 for wrong input, 130 after Ctrl-C"""


def help_page() -> str:
    """Return the page that --help prints."""
    axes = declared_axes()
    lines = [
        "python -m effbench.sweep [axis=values …] [key=value …]",
        "Sweep compression, log every run to MLflow, and say where compression stops being free.",
        "",
        "axes (one or several; prune=…, +prune=… and ++prune=… mean the same)",
    ]
    for axis in axes.values():
        lines += [
            f"  {f'{axis.name}={axis.example}':<25} {axis.help}",
            f"  {'':<25} {axis.allowed()}; moves {', '.join(axis.moves)}",
        ]
    keys = _KEYS.format(
        tasks=_choices("task"),
        models=_choices("model"),
        data=_choices("data"),
        recipes=_choices("recipe"),
        engines=_choices("engine"),
        trainings=_choices("train"),
        optimizers=_choices("optimizer"),
        schedulers=_choices("scheduler"),
        losses=_choices("loss"),
        augments=_choices("augment"),
    )
    return "\n".join([*lines, "", keys, _EXAMPLES])


def _choices(group: str) -> str:
    return ", ".join(sorted(members(group)))
