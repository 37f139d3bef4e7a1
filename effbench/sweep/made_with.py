"""What a run was made with, as a file: versions, machine, the parts of its key. And what of it is otherwise here."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from effbench.plan.given_weights import network_identity
from effbench.plan.keys import digest
from effbench.plan.point import Point
from effbench.training.device import processor_name

NAME = "environment.yaml"
PACKAGES = (
    *("effbench", "torch", "torchvision", "numpy", "scipy", "pillow", "scikit-learn", "numba", "constriction"),
    *("timm", "transformers", "safetensors", "mlflow", "hydra-core", "omegaconf"),
)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def made_with(point: Point, device: torch.device, /) -> dict[str, Any]:
    """Return what a run is made with here, as JSON-able data."""
    return {**_surroundings(), **_of_point(point, device)}


def _of_point(point: Point, device: torch.device) -> dict[str, Any]:
    chain = point.chain
    return {
        "device": str(device) if device.type != "cuda" else f"{device} ({torch.cuda.get_device_name(device)})",
        "threads": chain.threads,
        "data": chain.fingerprint,
        "run": {
            "key": point.key,
            "network": digest(network_identity(chain.network)),
            "task": digest(chain.task.identity()),
            "side": chain.side,
            "eval_side": point.eval_side,
            "seed": chain.seed,
            "coder": point.coder,
            "reference_bytes": point.reference_bytes,
            "steps": {f"{number} {step}": digest(step.identity()) for number, step in enumerate(chain.steps)},
        },
        "code": dict(chain.user_code),
    }


def made_with_files(point: Point, device: torch.device, /) -> dict[str, bytes]:
    """Return it as a file, under its name."""
    return {NAME: f"{_surroundings_written()}{_written(_of_point(point, device))}".encode()}


def _written(node: Mapping[str, Any]) -> str:
    text: str = yaml.dump(node, Dumper=_DUMPER, sort_keys=False, width=160)
    return text


@lru_cache(maxsize=1)
def _surroundings_written() -> str:
    return _written(_surroundings())


@lru_cache(maxsize=1)
def _surroundings() -> dict[str, Any]:
    return {
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "machine": {
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "vectors": torch.backends.cpu.get_cpu_capability(),
            "flags": " ".join(sorted(_processor_flags())),
        },
    }


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:  # an extra
            continue


def _processor_flags() -> set[str]:
    """Return what the processor can do, as Linux lists it; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith(("flags", "Features"))), ":").partition(":")[2].split())


def differences(then: Mapping[str, Any], now: Mapping[str, Any], /) -> list[str]:
    """Return a line for each thing that is otherwise now than it was then.

    >>> differences({"versions": {"torch": "2.0"}, "data": "a"}, {"versions": {"torch": "2.1"}, "data": "a"})
    ['torch: 2.0 then, 2.1 now']
    """
    lines = [*_changed(then, now, "versions"), *_changed(then, now, "machine", leave_out=("flags",))]
    flags = [set(str((side.get("machine") or {}).get("flags", "")).split()) for side in (then, now)]
    if flags[0] != flags[1]:
        lines.append(f"processor flags: {_some(flags[0] - flags[1])} then only, {_some(flags[1] - flags[0])} now only")
    lines += [
        f"{name}: {then.get(key)} then, {now.get(key)} now"
        for key, name in (("device", "device"), ("threads", "threads"), ("data", "fingerprint of the data"))
        if then.get(key) != now.get(key)
    ]
    code_then, code_now = (side.get("code") or {} for side in (then, now))
    lines += [
        f"{name}: its code, or what it imports, was changed"
        for name in sorted({*code_then, *code_now})
        if code_then.get(name) != code_now.get(name)
    ]
    return [*lines, *_of_the_run(then.get("run") or {}, now.get("run") or {}, is_known=code_then != code_now)]


def _changed(then: Mapping[str, Any], now: Mapping[str, Any], key: str, leave_out: tuple[str, ...] = ()) -> list[str]:
    before, after = then.get(key) or {}, now.get(key) or {}
    return [
        f"{name}: {before.get(name, 'absent')} then, {after.get(name, 'absent')} now"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name) and name not in leave_out
    ]


def _of_the_run(then: Mapping[str, Any], now: Mapping[str, Any], *, is_known: bool) -> list[str]:
    """Return lines for the parts of a run's key that differ. is_known: whether what differs in a network is told."""
    lines = []
    for name in dict.fromkeys([*then, *now]):
        before, after = then.get(name), now.get(name)
        if before == after or name == "key":
            continue
        if name == "steps":
            before, after = before or {}, after or {}
            changed = [step for step in dict.fromkeys([*before, *after]) if before.get(step) != after.get(step)]
            lines.append(f"steps of the recipe that are otherwise: {', '.join(changed)}")
        elif name in ("network", "task"):
            lines += [] if is_known else [f"{name}: its options, or a file that they name, are otherwise"]
        else:
            lines.append(f"{name}: {before} then, {after} now")
    return lines


def _some(flags: set[str], most: int = 6) -> str:
    more = f" and {len(flags) - most} more" if len(flags) > most else ""
    return f"{', '.join(sorted(flags)[:most]) or 'none'}{more}"


def read_made_with(content: bytes, /) -> dict[str, Any]:
    """Return what such a file says; nothing of a damaged one."""
    try:
        read = yaml.safe_load(content.decode())
        json.dumps(read)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
