"""`python -m effbench.profile model=vgg16`: where a network's cost sits, layer by layer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from effbench.sweep.answer_format import in_format
from effbench.sweep.doors import FAILED, pass_through, read_keys
from effbench.sweep.messages import guard_process, say

if TYPE_CHECKING:
    from effbench.sweep.answer_format import Answering
    from effbench.sweep.profiling import Subject

HELP = """\
python -m effbench.profile model=<network> [key=value …]         (or effbench profile …: the same command)
Where a network's cost sits: multiply-adds, parameters and activations of each layer with their shares, and of
convolutions, fully connected layers and attention.

which network
  model=vgg16            by any name that effbench sweep takes, with all its keys (model.alpha=0.5, --config-dir …).
                         Without an axis nothing is trained, and no weight is allocated: it is the fresh network,
                         with its own classes, channels and side (of torchvision's networks: those of ImageNet)
  data=cifar10           has it the classes, channels and side of the data, as in a sweep
  side=160               the side of its images, in pixels
  +prune_channels=0.5    with axes: the point of that sweep, made by its recipe, or read from the store where it is kept
  run=<id>               of a tracked run, from its file: a run id of MLflow, a run key, or the beginning of one;
                         tracking.uri= and tracking.experiment= say where it was logged

what is shown
  sort=order             the order in which layers begin; or macs, params, activations: the largest first
  top=10                 so many layers: the first of these; in their order, the most costly ones
  --format=csv           stdout has the layers as csv, everything as json, or the tables as markdown
  out=profile.svg        writes a figure (.svg, .png, .pdf) or a document (.csv, .json, .md); a list writes several

MACs are multiply-adds for one input; weights are the parameters that are multiplied (no biases, no norms); activations
are the elements of what a layer gives. Of networks with zero weights, effective and non-zero counts are shown, too.
exit status: 0, 1 when a run failed or a file can't be written, 2 for wrong input"""

DEFAULTS = {
    "run": "",
    "side": "",
    "sort": "order",
    "top": "",
    "out": "",
    "tracking.uri": "",
    "tracking.experiment": "effbench",
}
_OPTIONS = ("--config-dir", "--config-name", "--multirun", "--run")
"""Options of a sweep that say where its configuration is, or change nothing."""
_LARGEST_SIDE = 8192


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile a network; returns the exit status."""
    return pass_through(arguments, lambda: HELP, lambda given: in_format(given, _work), into="out")


def _work(arguments: Sequence[str], answering: Answering) -> int:
    """Show a profile as the arguments say; those that are no keys of this door are a sweep's."""
    from effbench.run.outcomes import RunError

    own = [argument for argument in arguments if argument.lstrip("+").partition("=")[0] in DEFAULTS]
    keys = read_keys(own, DEFAULTS, example="sort=macs")
    others = [argument for argument in arguments if argument not in own]
    try:
        _profile(keys, others, answering)
    except RunError as error:
        say(f"the run failed: {error.summary}")
        return FAILED
    return 0


def _profile(keys: Mapping[str, str], others: Sequence[str], answering: Answering) -> None:
    from effbench.analysis.profile import SORTS
    from effbench.measure.layer_profile import profile_of
    from effbench.measure.memory import peak_memory
    from effbench.sweep.profile_page import ProfilePage, check_path

    paths = [Path(part).expanduser() for part in keys["out"].split(",") if part]
    for path in paths:
        check_path(path)
    if keys["sort"] not in SORTS:
        raise ValueError(f"sort={keys['sort']}: must be one of {', '.join(SORTS)}")
    top = _count(keys, "top")
    subject = _subject(keys, others)
    profile = profile_of(subject.network, subject.input_size)
    try:
        peak = peak_memory(subject.network, subject.input_size)
    except ValueError:
        peak = None
    page = ProfilePage(
        title=subject.title, input_size=subject.input_size, profile=profile, peak=peak, sort=keys["sort"], top=top
    )
    for path in paths:
        page.save(path)
    if answering.is_document:
        answering.write(page.document(answering.form))
    else:
        page.show()
    for path in paths:
        say(f"{path}: written")


def _subject(keys: Mapping[str, str], others: Sequence[str]) -> Subject:
    """Return the network that is meant. ValueError for what does not go together."""
    from effbench.sweep.profiling import subject_of_command, subject_of_run

    side = _count(keys, "side", most=_LARGEST_SIDE)
    where = {key: keys[key] for key in ("tracking.uri", "tracking.experiment")}
    if keys["run"]:
        if others:
            raise ValueError(f"{others[0]}: can't be given with run=, which is a network that is there already")
        uri, experiment = where["tracking.uri"] or None, where["tracking.experiment"]
        return subject_of_run(keys["run"], side=side, experiment=experiment, tracking_uri=uri)
    for key, value in where.items():
        if value != DEFAULTS[key]:
            raise ValueError(f"{key}: says where run= was logged; give run=, or leave it out")
    return subject_of_command(_without_options(others), side=side)


def _without_options(arguments: Sequence[str]) -> Sequence[str]:
    """Refuse options of a sweep that print something else: ValueError. Those that change nothing are left out."""
    from effbench.config.options import read_options

    options = read_options(arguments)
    for name in options.values:
        if name not in _OPTIONS:
            raise ValueError(f"{name}: is an option of effbench sweep; see --help")
    return options.remembered


def _count(keys: Mapping[str, str], name: str, *, most: int | None = None) -> int | None:
    """Return a key's whole number, at least 1; None where it is not given."""
    text = keys[name]
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1 or (most is not None and int(text) > most):
        bound = "1 or more" if most is None else f"1 to {most}"
        raise ValueError(f"{name}={text}: must be a whole number, {bound}")
    return int(text)


def command(arguments: Sequence[str] | None = None, /) -> int:
    """Be the command of this process; returns the exit status."""
    guard_process()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command())
