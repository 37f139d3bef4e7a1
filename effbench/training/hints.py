"""Hints: inner layers of a student learn to say what inner layers of a teacher say (Romero et al. 2014, FitNets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

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
    return tuple((pair[0], pair[1]) for pair in pairs)


class HintedStudent(nn.Module):
    """A student, and a regressor on each guided layer: it gives what should be the teacher's hints, one after another.

    A regressor is a 1x1 convolution of maps (a linear layer of features) to the hint's channels, learned with the
    student and then thrown away (arXiv:1412.6550, section 2.2; the paper's is as large as the difference of the maps'
    sides asks for: here sides have to be equal).
    """

    def __init__(self, student: nn.Module, regressors: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.student = student
        self.guided = tuple(regressors)
        self.regressors = nn.ModuleList(regressors.values())

    def forward(self, images: Tensor) -> Tensor:
        """Return the regressors' outputs, flattened: (n, sum of the hints' sizes)."""
        outputs = outputs_of(self.student, self.guided, images)
        pairs = zip(self.regressors, outputs, strict=True)
        return torch.cat([regressor(output).flatten(1) for regressor, output in pairs], dim=1)


class HintLoss:
    """½ ‖hint - regressed guided layer‖², the mean over the hints' values and a batch (arXiv:1412.6550, equation 3).

    The paper sums over the values; the mean makes the learning rate of the later training fit here, too.
    """

    def __init__(self, teacher: nn.Module, layers: Sequence[str]) -> None:
        self.teacher = teacher.eval()
        self.layers = tuple(layers)

    def __call__(self, outputs: Tensor, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the loss of a batch of `HintedStudent`'s outputs; see `effbench.training.loop.Loss`."""
        with torch.no_grad():
            hints = [hint.float().flatten(1) for hint in outputs_of(self.teacher, self.layers, images)]
        return 0.5 * (outputs - torch.cat(hints, dim=1)).square().mean()


def hinted(
    student: nn.Module, teacher: nn.Module, pairs: Pairs, images: Tensor, /, *, generator: torch.Generator
) -> HintedStudent:
    """Return the student with fresh regressors, drawn from `generator`, for the pairs.

    images: a few, for the shapes. ValueError where a path is no module, or a map's sides are not those of its hint.
    """
    regressors: dict[str, nn.Module] = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        ours = outputs_of(student.eval(), [path for path, _ in pairs], images)
        theirs = outputs_of(teacher.eval(), [path for _, path in pairs], images)
        for (path, other), output, hint in zip(pairs, ours, theirs, strict=True):
            if output.shape[2:] != hint.shape[2:] or output.ndim not in (2, 4):
                raise ValueError(
                    f"hints={path}:{other}: the student's {tuple(output.shape[1:])} can't be regressed to the "
                    f"teacher's {tuple(hint.shape[1:])}; name layers whose maps have equal sides"
                )
            sizes = (output.shape[1], hint.shape[1])
            regressors[path] = nn.Linear(*sizes) if output.ndim == 2 else nn.Conv2d(*sizes, kernel_size=1)
    return HintedStudent(student, regressors)


def outputs_of(model: nn.Module, paths: Sequence[str], images: Tensor, /) -> list[Tensor]:
    """Return what the modules at `paths` give for `images`. ValueError where a path is no module, or does not run."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for path in paths:
            try:
                module = model.get_submodule(path)
            except AttributeError:
                known = ", ".join(name for name, _ in model.named_modules() if name)
                raise ValueError(f"hints: there is no module {path} in the network; there are {known}") from None

            def note(module: nn.Module, inputs: Any, output: Tensor, path: str = path) -> None:
                # A copy: the next module may work in place.
                outputs[path] = output.clone()

            hooks.callback(module.register_forward_hook(note).remove)
        model(images)
    missing = [path for path in paths if path not in outputs]
    if missing:
        raise ValueError(f"hints: the module {missing[0]} does not run; name one that does")
    return [outputs[path] for path in paths]
