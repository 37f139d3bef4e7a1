"""Weights fitted to a network: only the classifier may differ, and only in its number of classes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.layers import weight_layers
from effbench.data.paths import listed, remark, shown
from effbench.models.weight_files import read_state_dict

__all__ = ["Fitting", "fit_weights", "load_fitting", "read_state_dict"]

N_NAMED = 3
"""How many tensors an error names."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How a file's tensors were put into a network."""

    refitted: tuple[str, ...] = ()
    """The classifier's tensors that keep their fresh values: the file's are for another number of classes."""
    n_classes: int = 0
    """The number of classes that the file's classifier has; 0 where there is none."""
    left_out: tuple[str, ...] = field(default=())
    """The file's tensors that are no part of the network, such as a loss's or an auxiliary head's."""


def load_fitting(
    network: nn.Module,
    state: Mapping[str, Tensor],
    /,
    *,
    origin: str,
    rows: Sequence[int] = (),
    ignored: tuple[str, ...] = (),
) -> Fitting:
    """Load `state` into `network`; what keeps its fresh values, or is left out, is said in a line.

    The classifier is the last convolution or linear layer, with those that a network of timm calls so beside it: its
    tensors may differ in their first dimension, the number of classes, and then keep their fresh values; with `rows`
    they take these rows of the file's. Names may have a prefix in front (`module.`, `model.`, …) if there is only one
    way to read them so. Tensors are converted to the network's precision. ignored: beginnings of names that may be left
    out. ValueError, naming a few tensors and `origin`, if anything else differs, is missing or unknown.
    """
    fitting = fit_weights(network, state, origin=origin, rows=rows, ignored=ignored)
    if fitting.refitted:
        remark(
            f"{shown(origin)}: is for {fitting.n_classes} classes; {listed(fitting.refitted)} keep fresh values, to be "
            "trained (train.epochs or finetune.epochs)"
        )
    if fitting.left_out:
        remark(f"{shown(origin)}: left out, as the network has no such tensors: {listed(fitting.left_out)}")
    low = sorted({str(t.dtype).removeprefix("torch.") for t in state.values() if t.is_floating_point()} - {"float32"})
    if low:
        remark(f"{shown(origin)}: its weights are {' and '.join(low)}; they are taken as float32")
    return fitting


def fit_weights(
    network: nn.Module,
    state: Mapping[str, Tensor],
    /,
    *,
    origin: str,
    rows: Sequence[int] = (),
    ignored: tuple[str, ...] = (),
) -> Fitting:
    """Load as `load_fitting` does, and say nothing."""
    own = network.state_dict()
    named, outside = _renamed(state, own, origin)
    classifiers = _classifiers(network)
    of_classifier = [name for name in named if name in own and name.rpartition(".")[0] in classifiers]
    if rows:
        named |= {name: _taken(named[name], rows, origin) for name in of_classifier}
    differing = [name for name, tensor in named.items() if name in own and tensor.shape != own[name].shape]
    refitted = tuple(name for name in differing if name in of_classifier and _same_but_first(named[name], own[name]))
    left_out = tuple(name for name in named if name not in own and name.startswith(ignored)) if ignored else ()
    fitting = {name: tensor for name, tensor in named.items() if name not in refitted and name not in left_out}
    shapes = [f"{n} is {_size(named[n])}, not {_size(own[n])}" for n in differing if n not in refitted]
    kinds = [
        f"{name} is {_kind(tensor)}, not {_kind(own[name])}"
        for name, tensor in fitting.items()
        if name in own and own[name].is_floating_point() and not tensor.is_floating_point()
    ]
    missing, unknown = _missing(network, fitting, own, refitted), [name for name in fitting if name not in own]
    _refuse_unfit(network, origin, missing=missing, unknown=unknown, shapes=shapes, kinds=kinds)
    try:
        network.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{shown(origin)} does not fit {type(network).__name__}: {kind_and_line(error)}") from error
    return Fitting(
        refitted=refitted,
        n_classes=max((len(named[name]) for name in of_classifier if named[name].ndim), default=0),
        left_out=(*left_out, *outside),
    )


def _classifiers(network: nn.Module) -> set[str]:
    """Return the names of the layers that have a row for each class: the last one, and those that timm names."""
    last = [name for name, _layer in weight_layers(network)][-1:]
    about = getattr(network, "pretrained_cfg", None)
    told = about.get("classifier") if isinstance(about, Mapping) else getattr(about, "classifier", None)
    return {*last, *((told,) if isinstance(told, str) else told or ())}


def _missing(
    network: nn.Module, given: Collection[str], own: Mapping[str, Tensor], refitted: Collection[str]
) -> list[str]:
    """Return which tensors nobody gives. Those of old files count no batches, which changes no result."""
    fresh = {f"{name}.num_batches_tracked" for name, module in network.named_modules() if name or module is network}
    return [
        n for n in own if n not in given and n not in refitted and n not in fresh and not n.endswith("_extra_state")
    ]


def _refuse_unfit(network: nn.Module, origin: str, **problems: list[str]) -> None:
    """Raise a ValueError that counts what does not fit, by kind, and names the first few of each."""
    words = {"missing": "missing", "unknown": "unknown", "shapes": "of another shape", "kinds": "of another kind"}
    counts = [f"{len(names)} {words[kind]}" for kind, names in problems.items() if names]
    lines = {
        kind: names if kind in ("shapes", "kinds") else [f"{shown(name)} is {words[kind]}" for name in names]
        for kind, names in problems.items()
        if names
    }
    if not counts:
        return
    first = [line for number in range(N_NAMED) for names in lines.values() for line in names[number : number + 1]]
    n_more = sum(map(len, lines.values())) - len(first[:N_NAMED])
    more = f" and {n_more} more" if n_more else ""
    raise ValueError(
        f"{shown(origin)} does not fit {type(network).__name__}: {', '.join(counts)}: "
        f"{', '.join(first[:N_NAMED])}{more}"
    )


def _renamed(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], origin: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors by the network's names, and the names of those that lie outside of it.

    ValueError where the file holds several networks that would fit.
    """
    needed = [name for name in own if not name.endswith(("num_batches_tracked", "_extra_state"))]
    ways = {way: sum(way.theirs(name) in state for name in needed) for way in _ways(state, needed)}
    whole = [way for way, n_found in ways.items() if n_found == len(needed)]
    if _AS_IT_IS in whole or not ways:
        return dict(state), ()
    if len(whole) > 1:
        known = " and ".join(sorted(repr(way.inner or way.outer) for way in whole))
        raise ValueError(
            f"{shown(origin)} holds several networks that would fit, under {known}; save the state_dict of the one"
        )
    # Of none that is whole, the nearest says best what does not fit.
    way = whole[0] if whole else max(ways, key=lambda way: (ways[way], way == _AS_IT_IS))
    inside = {name: tensor for name, tensor in state.items() if name.startswith(way.outer)}
    outside = tuple(name for name in state if name not in inside)
    return {way.ours(name): tensor for name, tensor in inside.items()}, outside


@dataclass(frozen=True)
class _Way:
    """One way to read a file's names: `outer` stands before them all, or `inner` before all of the network's own."""

    outer: str = ""
    inner: str = ""

    def theirs(self, name: str) -> str:
        """Return the file's name for one of the network's."""
        return self.outer + name.removeprefix(self.inner)

    def ours(self, name: str) -> str:
        """Return the network's name for one of the file's."""
        return self.inner + name.removeprefix(self.outer)


_AS_IT_IS = _Way()


def _ways(state: Mapping[str, Tensor], needed: Sequence[str]) -> Iterator[_Way]:
    """Yield the ways in which some of the network's names are found, without doubles."""
    found = {_AS_IT_IS: None}
    if needed:
        shared = _common_prefix(needed)
        for inner in [part for part in _prefixes(shared) if part]:
            found[_Way(inner=inner)] = None
        for name in (needed[0], needed[len(needed) // 2], needed[-1]):
            for theirs in state:
                outer = theirs[: len(theirs) - len(name)]
                if theirs.endswith(name) and outer.endswith("."):
                    found[_Way(outer=outer)] = None
    yield from found


def _common_prefix(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    n_equal = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:n_equal].rpartition(".")[0]


def _prefixes(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[: n + 1]) + "." for n in range(len(parts))]


def _taken(tensor: Tensor, rows: Sequence[int], origin: str) -> Tensor:
    if not tensor.ndim or len(tensor) <= max(rows):
        raise ValueError(
            f"{shown(origin)}: its classifier has {len(tensor) if tensor.ndim else 1} rows, and row {max(rows)} of it "
            "is asked for; give model.labels=fresh"
        )
    return tensor[torch.tensor(list(rows))]


def _same_but_first(tensor: Tensor, own: Tensor) -> bool:
    """Whether a tensor differs in nothing but its first dimension."""
    return tensor.ndim == own.ndim > 0 and tensor.shape[1:] == own.shape[1:]


def _size(tensor: Tensor) -> str:
    """Write a shape as 64×3×3×3."""
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
