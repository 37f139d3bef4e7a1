"""Hints: inner layers of a student learn to say what inner layers of a teacher say (Romero et al. 2014, FitNets)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_NAMED = 20
"""How many modules a message names."""
Sides = tuple[int, int]
Pairs = Sequence[tuple[str, str]]
"""(a module of the student, the module of the teacher that it learns from), by their paths."""


def read_pairs(text: str, /) -> Pairs:
    """Read "student:teacher" or several of them joined by +; "none" is no pair. ValueError for anything else.

    >>> read_pairs("features.relu2:features.relu2+features.relu4:features.relu6")
    (('features.relu2', 'features.relu2'), ('features.relu4', 'features.relu6'))
    """
    if text == "none":
        return ()
    pairs = tuple(tuple(pair.split(":")) for pair in text.split("+"))
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError(
            f"hints={text}: must be none, or student:teacher paths of modules, joined by + where there are several, "
            "as in features.relu4:features.relu4"
        )
    ours = [pair[0] for pair in pairs]
    if len(set(ours)) < len(ours):
        raise ValueError(f"hints={text}: names a layer of the student twice; give each one teacher's layer")
    return tuple((pair[0], pair[1]) for pair in pairs)


class HintedStudent(nn.Module):
    """A student, and a regressor on each guided layer: it gives what should be the teacher's hints, one after another.

    A regressor is a 1x1 convolution of maps (a linear layer of features, or of tokens) to the hint's channels, learned
    with the student and then thrown away (arXiv:1412.6550, section 2.2; the paper's is as large as the difference of
    the maps' sides asks for: here the larger map is average-pooled to the smaller one's sides).
    """

    def __init__(
        self, student: nn.Module, regressors: Mapping[str, nn.Module], hint_sides: Sequence[Sides | None] = ()
    ) -> None:
        super().__init__()
        self.student = student
        self.guided = tuple(regressors)
        self.regressors = nn.ModuleList(regressors.values())
        self.hint_sides = tuple(hint_sides)
        """To which the teacher's maps are pooled, as `HintLoss` takes it."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the regressors' outputs, flattened: (n, sum of the hints' sizes)."""
        outputs = outputs_of(self.student, self.guided, images)
        pairs = zip(self.regressors, outputs, strict=True)
        return torch.cat([regressor(output).flatten(1) for regressor, output in pairs], dim=1)


class HintLoss:
    """½ ‖hint - regressed guided layer‖², the mean over the hints' values and a batch (arXiv:1412.6550, equation 3).

    The paper sums over the values; the mean makes the learning rate of the later training fit here, too. sides: to
    which the maps of each layer are average-pooled, None where they are the student's already.
    """

    def __init__(self, teacher: nn.Module, layers: Sequence[str], sides: Sequence[Sides | None] = ()) -> None:
        self.teacher = teacher.eval()
        self.layers = tuple(layers)
        self.sides = tuple(sides) or (None,) * len(self.layers)

    def __call__(self, outputs: Tensor, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the loss of a batch of `HintedStudent`'s outputs; see `effbench.training.loop.Loss`."""
        with torch.no_grad():
            found = zip(outputs_of(self.teacher, self.layers, images), self.sides, strict=True)
            hints = [_pooled(hint.float(), sides).flatten(1) for hint, sides in found]
        return 0.5 * (outputs - torch.cat(hints, dim=1)).square().mean()


def hinted(
    student: nn.Module, teacher: nn.Module, pairs: Pairs, images: Tensor, /, *, generator: torch.Generator
) -> HintedStudent:
    """Return the student with fresh regressors, drawn from `generator`, for the pairs.

    images: a few, for the shapes. ValueError where a path is no module, or what it gives can't be regressed.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        meetings = meetings_of(student, teacher, pairs, images)
        regressors = {path: meeting.regressor() for (path, _), meeting in zip(pairs, meetings, strict=True)}
    return HintedStudent(student, regressors, [meeting.hint_sides for meeting in meetings])


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Where what a layer of the student gives meets what a layer of the teacher gives."""

    n_in: int
    n_out: int
    """The channels, or features, of either."""
    is_map: bool
    student_sides: Sides | None = None
    """To which the student's maps are pooled; None: they are not."""
    hint_sides: Sides | None = None
    """To which the teacher's are."""

    def regressor(self) -> nn.Module:
        """Return fresh layers that make the hint's channels of the student's, after pooling where that is needed."""
        layer = nn.Conv2d(self.n_in, self.n_out, kernel_size=1) if self.is_map else nn.Linear(self.n_in, self.n_out)
        return layer if self.student_sides is None else nn.Sequential(nn.AdaptiveAvgPool2d(self.student_sides), layer)


def meetings_of(student: nn.Module, teacher: nn.Module, pairs: Pairs, images: Tensor, /) -> list[Meeting]:
    """Return how each pair meets. ValueError where a path is no module that runs, or where the two can't meet."""
    ours = outputs_of(student.eval(), [path for path, _ in pairs], images, whose="student")
    theirs = outputs_of(teacher.eval(), [path for _, path in pairs], images, whose="teacher")
    return [_meeting(pair, output, hint) for pair, output, hint in zip(pairs, ours, theirs, strict=True)]


def _meeting(pair: tuple[str, str], output: Tensor, hint: Tensor) -> Meeting:
    same_kind = output.ndim == hint.ndim
    if same_kind and output.ndim == 4:
        sides = _smaller(output, hint)
        return Meeting(
            n_in=output.shape[1],
            n_out=hint.shape[1],
            is_map=True,
            student_sides=None if tuple(output.shape[2:]) == sides else sides,
            hint_sides=None if tuple(hint.shape[2:]) == sides else sides,
        )
    if same_kind and (output.ndim == 2 or (output.ndim == 3 and output.shape[1] == hint.shape[1])):
        return Meeting(n_in=output.shape[-1], n_out=hint.shape[-1], is_map=False)
    raise ValueError(
        f"hints={':'.join(pair)}: the student's {tuple(output.shape[1:])} can't be regressed to the teacher's "
        f"{tuple(hint.shape[1:])}; name layers that both give maps (channels, height, width), or both features, or "
        "both as many tokens"
    )


def _smaller(output: Tensor, hint: Tensor) -> Sides:
    return min(output.shape[2], hint.shape[2]), min(output.shape[3], hint.shape[3])


def _pooled(maps: Tensor, sides: Sides | None) -> Tensor:
    return maps if sides is None else F.adaptive_avg_pool2d(maps, sides)


def outputs_of(model: nn.Module, paths: Sequence[str], images: Tensor, /, *, whose: str = "network") -> list[Tensor]:
    """Return what the modules at `paths` give for `images`.

    ValueError where a path is no module, does not run, or gives no tensor. whose: the network's name in messages.
    """
    outputs: dict[str, Any] = {}
    with ExitStack() as hooks:
        for path in paths:
            try:
                module = model.get_submodule(path)
            except AttributeError:
                raise ValueError(f"hints: there is no module {path} in the {whose}; {_known(model, path)}") from None

            def note(module: nn.Module, inputs: Any, output: Any, path: str = path) -> None:
                # A copy: the next module may work in place.
                outputs[path] = output.clone() if isinstance(output, Tensor) else output

            hooks.callback(module.register_forward_hook(note).remove)
        model(images)
    for path in paths:
        if path not in outputs:
            raise ValueError(f"hints: the module {path} does not run; name one that does")
        if not isinstance(outputs[path], Tensor):
            raise ValueError(f"hints: the module {path} gives a {type(outputs[path]).__name__}, not one tensor")
    return [outputs[path] for path in paths]


def _known(model: nn.Module, path: str) -> str:
    """Say which modules there are: all of a few, of many those of a like name and the first ones."""
    known = [name for name, _ in model.named_modules() if name]
    if len(known) <= N_NAMED:
        return f"there are {', '.join(known)}"
    near = difflib.get_close_matches(path, known, n=3)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return f"{hint}there are {', '.join(known[:N_NAMED])} and {len(known) - N_NAMED} more"
