"""One run, end to end: stages -> file -> the model that was read back -> measurements."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from effbench.codec import decode, encode_each
from effbench.measure.compute import count_cost
from effbench.plan.findings import Findings
from effbench.plan.point import Point, load_data
from effbench.plan.recipe import Rounds
from effbench.plan.stage import Context, Step, prefix_keys_after
from effbench.plan.teacher import Teacher
from effbench.run.results import RunResult, keep_result, load_result
from effbench.run.store import Store
from effbench.training.evaluation import Evaluation, evaluate

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Called as progress(step, done, in_all)."""

WORTH_KEEPING_SECONDS = 0.5
"""A network whose last step was quicker than this is made again rather than kept on disk."""


def run_point(point: Point, store: Store, /, *, device: torch.device, progress: Progress | None = None) -> RunResult:
    """Return the result of a point: the one that is kept in the store, or else a new one, which is then kept."""
    with store.lock(point.key):
        kept = load_result(point.key, store)
        if kept is not None:
            return kept
        torch.set_num_threads(point.threads)
        findings = Findings()
        model, seconds, cached = make_model(point, store, device=device, progress=progress, findings=findings)
        files = encode_each(model, coders=dict.fromkeys((point.coder, "none")))
        blob, gain = files[0], len(files[-1]) / len(files[0])
        result = measure(point, decode(blob, point.fresh_network()), blob, seconds, cached, device, coding_gain=gain)
        result = replace(result, metrics={**result.metrics, **findings.peaks}, tables=findings.tables)
        keep_result(point.key, result, store)
        return result


def make_model(
    point: Point,
    store: Store,
    /,
    *,
    device: torch.device,
    progress: Progress | None = None,
    findings: Findings | None = None,
) -> tuple[nn.Module, float, tuple[str, ...]]:
    """Run the stages of a point, from the longest prefix that the store holds.

    Returns the model, the seconds spent on stages now, and the names of the steps that were not run. What all stages
    found, those of the prefix too, is put into `findings`.
    """
    maker = _Maker(point, store, device, progress, findings=Findings() if findings is None else findings)
    model = maker.follow(tuple(zip(point.steps, point.prefix_keys[1:], strict=True)))
    return model, maker.seconds, maker.cached


Trail = tuple[tuple[Step | Rounds, str], ...]
"""Steps from the fresh network on, each with the key of the network after it."""


@dataclass
class _Maker:
    """Makes the network at the end of a trail, and notes what that took."""

    point: Point
    store: Store
    device: torch.device
    progress: Progress | None = None
    seconds: float = 0.0
    cached: tuple[str, ...] = ()
    findings: Findings = field(default_factory=Findings)
    aside: float = 0.0
    """Seconds within the current step that are not its own: of making its teacher, and its teacher's labels."""

    def follow(self, trail: Trail) -> nn.Module:
        """Return the network at the end, from the longest prefix that the store holds."""
        model, n_done = self._resume(trail)
        self.cached += tuple(str(step) for step, _ in trail[:n_done])
        for _, key in trail[:n_done]:
            self._recall(key)
        for number in range(n_done, len(trail)):
            model = self._take(model, trail[: number + 1])
        return model

    def _resume(self, trail: Trail) -> tuple[nn.Module, int]:
        for n_done in range(len(trail), 0, -1):
            kept = self._kept(trail[n_done - 1][1])
            if kept is not None:
                return kept, n_done
        return self.point.fresh_network(), 0

    def _kept(self, key: str) -> nn.Module | None:
        return self.store.get_model(key, self.point.fresh_network()) if self.store.has_model(key) else None

    def _take(self, model: nn.Module, trail: Trail) -> nn.Module:
        """Return what the last step of a trail makes of `model`."""
        step, key = trail[-1]
        with self.store.lock(key):
            kept = self._kept(key)
            if kept is not None:  # another process was quicker
                self.cached += (str(step),)
                self._recall(key)
                return kept
            before, self.findings = self.findings, Findings()
            context = self._context(trail)
            self.aside, started = 0.0, time.perf_counter()
            if isinstance(step, Rounds):
                made = step.go(model, context.evaluate, partial(self._round, trail=trail))
            else:
                made = step.stage.apply(model, context).eval()
                self.seconds += time.perf_counter() - started - self.aside
            if not self.findings.is_empty:
                self.store.put_json(f"findings/{key}", self.findings.to_plain())
            if time.perf_counter() - started - self.aside > WORTH_KEEPING_SECONDS:
                self.store.put_model(key, made)
            before.take_over(self.findings)
            self.findings = before
        return made

    def _recall(self, key: str) -> None:
        """Take over what a kept step found; one that found nothing, or that an earlier effbench kept, has none."""
        plain = self.store.get_json(f"findings/{key}")
        if plain is not None:
            self.findings.take_over(Findings.from_plain(plain))

    def _round(self, model: nn.Module, number: int, *, trail: Trail) -> nn.Module:
        """Run one of the rounds at the end of a trail; its steps have the keys of rounds that are written out."""
        behind, rounds = trail[:-1], trail[-1][0]
        assert isinstance(rounds, Rounds)
        steps = [step for group in rounds.rounds[: number + 1] for step in group]
        keys = prefix_keys_after(behind[-1][1] if behind else self.point.prefix_keys[0], steps)
        written = (*behind, *zip(steps, keys, strict=True))
        for n_steps in range(len(written) - len(rounds.rounds[number]), len(written)):
            model = self._take(model, written[: n_steps + 1])
        return model

    def _context(self, trail: Trail) -> Context:
        point, data, name = self.point, load_data(self.point.data), str(trail[-1][0])

        before = trail[-2][1] if len(trail) > 1 else point.prefix_keys[0]

        def validate(model: nn.Module) -> Evaluation:
            return evaluate(model, data, "val", side=point.side, device=self.device)

        return Context(
            data=data,
            side=point.side,
            seed=point.seed,
            step=name,
            device=self.device,
            evaluate=lambda model: validate(model).accuracy,
            cost=lambda model: count_cost(model, (data.channels, point.side, point.side)),
            progress=None if self.progress is None else partial(self.progress, name),
            snapshot=partial(self._snapshot, behind=trail[:-1]),
            teacher=partial(self._teacher, trail[-1][0]),
            validate=validate,
            keep=lambda name, make: self.store.keep_tensor(f"{before}-{name}", make),
            findings=self.findings,
        )

    def _teacher(self, step: Step | Rounds) -> Teacher:
        point = None if isinstance(step, Rounds) else step.teacher
        if point is None:
            raise ValueError(f"{step}: learns from a teacher, and its recipe gives it none")
        return Teacher(
            key=point.prefix_keys[-1],
            side=point.side,
            network=partial(self._not_counted, lambda: make_model(point, self.store, device=self.device)[0]),
            keep=lambda name, make: self._not_counted(partial(self.store.keep_tensor, name, make)),
        )

    def _not_counted(self, work: Callable[[], T]) -> T:
        """Do what is no part of the current step's own time."""
        aside, started = self.aside, time.perf_counter()
        done = work()
        self.aside = aside + time.perf_counter() - started  # what was within it is within this
        return done

    def _snapshot(self, name: str, *, behind: Trail) -> nn.Module:
        """Return the network after an earlier step, from the store or made once more."""
        if name == "init":
            return self.point.fresh_network()
        for number, (step, _) in enumerate(behind):
            if str(step) == name:
                return _Maker(self.point, self.store, self.device).follow(behind[: number + 1])
        known = ", ".join(["init", *(str(step) for step, _ in behind)])
        raise ValueError(f"{name}: is no step before; there are {known}")


def measure(
    point: Point,
    model: nn.Module,
    blob: bytes,
    seconds: float,
    cached: tuple[str, ...],
    device: torch.device,
    *,
    coding_gain: float,
) -> RunResult:
    """Measure the model that was read back from `blob`; `coding_gain` is the bytes without entropy coding over its."""
    data = load_data(point.data)
    validation = evaluate(model, data, "val", side=point.eval_side, device=device)
    test = evaluate(model, data, "test", side=point.eval_side, device=device)
    cost = count_cost(model, point.input_size)
    return RunResult(
        metrics={
            "accuracy": test.accuracy,
            "accuracy_val": validation.accuracy,
            "loss": test.loss,
            "macs": cost.macs,
            "macs_effective": cost.macs_effective,
            "flops": cost.flops,
            "params": cost.params,
            "params_nonzero": cost.params_nonzero,
            "size_bytes": len(blob),
            "size_ratio": point.reference_bytes / len(blob),
            "coding_gain": coding_gain,
            "train_seconds": seconds,
        },
        cached_steps=cached,
        unknown_operations=cost.unknown,
        blob=blob,
        correct_val=validation.correct,
        correct_test=test.correct,
    )
