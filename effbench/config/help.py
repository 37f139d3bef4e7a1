"""The help page: axes and keys, from their declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from effbench.config.experiment_files import experiment_files
from effbench.config.folder_checks import check_folders
from effbench.config.hydra_session import hydra_session
from effbench.config.members import declared_axes, members, users_files
from effbench.config.options import options_help
from effbench.config.search_path import searching, take_search_path

_KEYS = """\
keys (key=value; several values, as in model=lenet_5,small_cnn, multiply the runs)
  task=             {tasks}: what networks are for; brings its own network and data, where none are named
  model=            {models}
                    or resnet18 and any other classifier of torchvision, timm:<name>, hf:<folder or repository>
                    (extras: effbench[timm], effbench[transformers]), my_package.my_nets:my_net for your own
                    model.<option>= sets an option; model.weights= a file of weights for any of them (a state_dict,
                    a checkpoint, .safetensors), or torchvision's by name (DEFAULT, IMAGENET1K_V1);
                    model.pretrained=true for timm's
  data=             {data}; or a folder of class folders: data=./photos
                    data.root= where it lies, data.side= base side in pixels, data.split_seed=
                    data._target_=my_package.my_data takes your own: what it gives, as (train, val, test) Datasets
                    data.cache=memory|disk|none data.workers=2 (image_folder, your own): how images are held and read
  recipe=           {recipes}; recipe.rounds=3 prunes and finetunes in three rounds
  stage.<s>.<o>=    options of a technique: stage.prune.criterion=random, stage.quantize.scheme=affine, …
                    stage.distill.teacher=resnet50:best.pth lets another network teach; stage.distill.labels=soft.npy
                    stage.<s>.layers={{conv1:8,classifier:skip}}: other values for layers by name, * for any; or skip
  seed=0,1,2        repeats every point with other initial weights and another order of the data
  device=           auto, cpu, cuda, cuda:N or mps
  coder=            none, huffman (default), ans or context: the entropy coder of the run's file
  train=            {trainings}: how networks are trained; each says in conf/train where it is from
  train.*           epochs, lr, batch_size, weight_decay, precision, layout, threads, fraction; decay_norms,
                    warm_up_epochs, label_smoothing, mixup, cutmix, clip, ema
                    freeze=backbone trains the classifier alone; or patterns, as in freeze=[features.*]
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
  saturation.method= tolerance (default), tolerance_bound, kneedle, marginal (saturation.rate=1: points that a doubling
                    of the cost must buy) or price (saturation.price=: what a point is worth, in the cost's unit)
  figure.format=    png (default), svg, pdf, or a list of them: the files that a sweep draws
  engine=           {engines}; measure.batch=1,8 measure.threads=1,2 measure.seconds=1: measured within each run
                    measure.disturbed=keep takes the times of a busy machine as they are (default: discard)
                    measure.points=front (default: of more than 20 points) or all
                    measure.memory=2GB: models measured together (default: half of the free memory); more go in groups
                    engine.<name>.<option>= sets an option of an engine
  tracking.uri=     where MLflow is (default: MLFLOW_TRACKING_URI, else mlflow.db here); tracking.experiment=
                    tracking.artifacts= where the files of a new experiment go, such as s3://bucket
                    tracking.log_model=true logs each network as one of MLflow's own models, too
  store.root=       where models and results are kept (default .effbench); python -m effbench.store lists and clears it
  store.keep=       needed (default) drops networks that no point ends in once their points are done; all keeps them
  store.limit=20GB  a ceiling: networks that were not used for longest go first; results stay
  sweep.jobs=       runs at once: auto (default) or a number; hydra/launcher=joblib|ray|submitit_slurm spreads them
  sweep.timeout=    seconds that a run may take; one that takes longer fails, and the sweep goes on
  sweep.refine=3    up to three more values for each ordered axis: where the grid's results ask for them
  dry_run=true      prints the plan: what is kept already, what would run, what would be measured

your own (techniques with their axes, networks, data, tasks, engines, recipes, each a file of YAML; see CONTRIBUTING.md)
  --config-dir DIR  looks for more of all of the above in a folder of yours (-cd DIR); effbench new model N begins one
  hydra.searchpath= [pkg://my_package.conf,file://another/folder]: in more of them, also in installed packages
                    the folder of a run's config.yaml makes that run again
  --config-name N   takes the defaults of every run from DIR/N.yaml (-cn N), whose defaults are [config, _self_]
  experiment=       {experiments}: DIR/experiment/N.yaml says what a sweep is: keys, axes (a list is swept), and
                    defaults: [override /model: lenet_5, _self_], below the line # @package _global_
  study=            {studies}: likewise, of DIR/study

Hydra's own
  hydra.callbacks.<n>._target_=my_module.Mine   told of the sweep (on_multirun_start, _end) and its runs (on_job_…)
  hydra/job_logging= hydra/hydra_logging= hydra.verbose=   how the command and its runs log
  hydra.job.env_set.<X>=   a variable that runs have;   hydra.sweeper.params.prune=0.1,0.5   read as prune=0.1,0.5
  imports=my_module   a module, or a list, that is imported first: what registers resolvers, for ${{my_resolver:3}}

options, anywhere in the line
{options}
"""

_EXAMPLES = """\
examples
  python -m effbench.sweep +prune=0.1,0.5,0.9
  python -m effbench.sweep +prune=0.5,0.9 +bits=8,4,2 +seed=0,1,2
  python -m effbench.sweep +alpha=0.25,0.5,0.75 model=mobilenet_v1 data=cifar10 data.root=data/cifar10
  effbench sweep --config-dir conf_mine model=my_net +my_axis=1,2,3

The same command again goes on where it was stopped, and does nothing twice.
exit status: 0, 1 when runs failed, 2 for wrong input, 130 after Ctrl-C"""


def help_page(arguments: Sequence[str] = (), /) -> str:
    """Return the page that --help prints, with what is in the folders that the other arguments name.

    ValueError, in one clear line, for what is wrong with these.
    """
    path, _ = take_search_path(arguments)
    with searching(path), hydra_session(path):
        check_folders(path)
        return _page()


def _page() -> str:
    axes, files = declared_axes(), users_files("axis")
    lines = [
        "python -m effbench.sweep [axis=values …] [key=value …]         (or effbench sweep …: the same command)",
        "Sweep compression, log every run to MLflow, and say where compression stops being free.",
        "",
        "axes (one or several; prune=…, +prune=… and ++prune=… mean the same)",
    ]
    for axis in axes.values():
        lines += [
            f"  {f'{axis.name}={axis.example}':<25} {axis.help}",
            f"  {'':<25} {axis.allowed()}; moves {', '.join(axis.moves) or 'no cost'}{_source(axis.name, files)}",
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
        experiments=", ".join(sorted(experiment_files("experiment"))) or "none here",
        studies=", ".join(sorted(experiment_files("study"))) or "none here",
        options=options_help(),
    )
    return "\n".join([*lines, "", keys, _EXAMPLES])


def _source(axis: str, files: Mapping[str, tuple[Path, str]]) -> str:
    return f" ({files[axis][1]})" if axis in files else ""


def _choices(group: str) -> str:
    return ", ".join(sorted(members(group)))
