"""The command line as overrides: Hydra's grammar, without the parts that a sweep has no use for."""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, Transformer, ValueType
from hydra.errors import HydraException

from effbench.config.component_keys import as_key

_PATH = re.compile(r"(~|[^'\"\\$,=(){}\[\]]*/)[^'\"\\$,=(){}\[\]]*")
"""What is a path and nothing else, whatever key it is given to."""
TEXTS = (
    *("tracking.uri", "tracking.experiment", "tracking.artifacts", "store.root", "data.root", "model.weights"),
    *("stage.distill.labels", "stage.distill.teacher"),
)
"""Keys whose values are taken as they stand where they are nothing in Hydra's grammar."""
EXAMPLES = "+prune=0.1,0.5,0.9 or model=lenet_5"
FUNCTIONS = ("choice", "range", "interval", "glob", "shuffle", "sort", "tag", "int", "float", "str", "bool")
"""What Hydra's grammar calls on values."""
NOT_HERE = {
    "extend_list": "write the whole list, as in train.augment=[crop_flip,trivial]",
    "json_str": "write the value as it is, as in {a: 1}",
}
"""What other versions of it call, and what is written instead."""


def parse(arguments: Sequence[str], /) -> list[Override]:
    """Return the overrides, each of a key of its own. ValueError for what is none, or takes something away."""
    parser = OverridesParser.create()
    parsed: dict[str, Override] = {}
    for argument in arguments:
        override = _parse_one(parser, argument)
        key = override.key_or_group
        if key in parsed:
            earlier = parsed[key].input_line
            raise ValueError(f"{argument}: {key} is given already ({earlier}); write several values as {key}=a,b")
        parsed[key] = override
    return list(parsed.values())


def values_of(override: Override, /) -> Iterator[object]:
    """Yield the plain values of an override, one or several."""
    if override.is_sweep_override():
        found: Iterable[object] = override.sweep_iterator(transformer=Transformer.identity)
    else:
        found = [override.value()]
    for value in found:
        yield value.text if isinstance(value, QuotedString) else value


def flat(values: Iterable[object], /) -> Iterator[object]:
    """Yield the values, and in place of a list its elements: [0, 1] and 0,1 mean the same."""
    for value in values:
        yield from value if isinstance(value, list) else [value]


def single_lines(override: Override, prefix: str, /) -> Iterator[str]:
    """Yield the overrides of one value each that an override stands for, each with `prefix` before the key."""
    if not override.is_sweep_override():
        yield f"{prefix}{override.key_or_group}={override.get_value_element_as_str()}"
        return
    for value in override.sweep_string_iterator():
        yield f"{prefix}{override.key_or_group}={value}"


def list_line(override: Override, prefix: str, /) -> str:
    """Return the override whose value is the list of the values swept."""
    values = ",".join(map(str, override.sweep_string_iterator()))
    return f"{prefix}{override.key_or_group}=[{values}]"


def quoted(value: str, /) -> str:
    """Return a text in quotes, as Hydra's grammar takes it, whatever is in it."""
    # Hydra takes back a \\ as one only before a quote.
    end = len(value) - len(value.rstrip("\\"))
    escaped = re.sub(r'(\\*)"', r"\1\1\"", value) + "\\" * end
    return f'"{escaped}"'


def _parse_one(parser: OverridesParser, argument: str) -> Override:
    try:
        override = parser.parse_override(argument)
    except HydraException as error:
        override = _parse_quoted(parser, argument, error)
    key = override.key_or_group
    if override.package is not None and key:
        value = argument.partition("=")[2]
        raise ValueError(
            f"{argument}: {key} can't be put elsewhere; it must be key=value, as in {key}={value or 'value'}, which "
            "stands where it belongs; see --help"
        )
    if not key:
        raise ValueError(f"{argument}: must be key=value, as in {EXAMPLES}; see --help")
    if override.is_delete():
        raise ValueError(f"{argument}: a key can't be taken away; give it another value: {key}=…")
    if override.value_type is ValueType.INTERVAL_SWEEP:
        raise ValueError(
            f"{argument}: can't be swept; write the values out, as in {key}=0.1,0.5 or {key}=range(0.1,1,0.2): an "
            "interval is continuous, and every point of a sweep is run"
        )
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        raise ValueError(
            f"{argument}: can't be swept; write the values out, as in {key}=a,b: glob names what a group has"
        )
    return dataclasses.replace(override, key_or_group=as_key(key))


def _parse_quoted(parser: OverridesParser, argument: str, why: HydraException) -> Override:
    """Parse a path, or a name, that holds what is no word of Hydra's (a ~, letters beyond a to z): as if quoted."""
    key, equals, value = argument.partition("=")
    if value[:1] not in ("'", '"') and (key.lstrip("+") in TEXTS or _PATH.fullmatch(value)):
        with suppress(HydraException):
            return parser.parse_override(f"{key}={quoted(value)}")
    if not equals or not re.fullmatch(r"[+~]{0,2}[\w./@-]+", key):
        raise ValueError(f"{argument}: must be key=value, as in {EXAMPLES}; see --help")
    raise ValueError(f"{argument}: {_why_no_value(parser, key, value, why)}")


def _why_no_value(parser: OverridesParser, key: str, value: str, why: HydraException) -> str:
    """Return what is wrong with a value that Hydra's grammar does not have, and how to write it."""
    function = re.match(r"\s*(\w+)\(", value)
    if function and function[1] in FUNCTIONS and value.rstrip().endswith(")"):
        return str(why).splitlines()[0].partition(": ")[2] or str(why).splitlines()[0]
    if function and function[1] in NOT_HERE:
        return f"{function[1]}() is not in Hydra 1.3; {NOT_HERE[function[1]]}"
    near = difflib.get_close_matches(function[1], FUNCTIONS, n=1) if function else []
    hint = f"; or did you mean {near[0]}(…)?" if near else ""
    try:
        parser.parse_override(f"{key}={quoted(value)}")
    except HydraException:
        return f"must be key=value, as in {EXAMPLES}; see --help"
    return f"must be key=value; quote a text with such characters, twice for the shell: {_in_quotes(key, value)}{hint}"


def _in_quotes(key: str, value: str) -> str:
    return shlex.quote(f"{key}={quoted(value)}")
