"""A chain's network, made: from the longest prefix of its steps that the store holds, one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from effbench.measure.compute import count_cost
from effbench.plan.chain import Chain, Rounds, Step
from effbench.plan.context import Context
from effbench.plan.findings import Findings
from effbench.plan.keys import prefix_keys_after
from effbench.plan.teacher import Teacher
from effbench.run.rounds import run_rounds
from effbench.run.stopwatch import Stopwatch
from effbench.run.store import Store
from effbench.training.evaluation import evaluate

Progress = Callable[[str, int, int], None]
"""Called as progress(step, done, in_all)."""
Trail = tuple[tuple[Step | Rounds, str], ...]
"""Steps from the fresh network on, each with the key of the network after it."""

WORTH_KEEPING_SECONDS = 0.5
"""A network whose last step was quicker than this is made again rather than kept on disk."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A network, and what making it took. Steps take one and return the next."""

    model: nn.Module
    findings: Findings = field(default_factory=Findings)
    """What all stages found, those of a prefix that was kept as well."""
    seconds: float = 0.0
    """Of the stages that ran now."""
    cached: tuple[str, ...] = ()
    """The names of the steps that were not run, because their result was kept."""

    def followed_by(self, later: Made, /) -> Made:
        """Return the later network, with what both took."""
        findings = Findings()
        findings.take_over(self.findings)
        findings.take_over(later.findings)
        return Made(
            model=later.model,
            findings=findings,
            seconds=self.seconds + later.seconds,
            cached=self.cached + later.cached,
        )


def make_model(chain: Chain, store: Store, /, *, device: torch.device, progress: Progress | None = None) -> Made:
    """Run the steps of a chain, from the longest prefix that the store holds."""
    return _Maker(chain, store, device, progress).follow(tuple(zip(chain.steps, chain.prefix_keys[1:], strict=True)))


@dataclass(frozen=True)
class _Maker:
    """Makes the networks of a chain; it remembers nothing."""

    chain: Chain
    store: Store
    device: torch.device
    progress: Progress | None = None

    def follow(self, trail: Trail) -> Made:
        """Return the network at the end of a trail."""
        made, n_done = self._resume(trail)
        for number in range(n_done, len(trail)):
            made = self._take(made, trail[: number + 1])
        return made

    def _resume(self, trail: Trail) -> tuple[Made, int]:
        """Return the network after the longest prefix that is kept, and how many steps that is."""
        for n_done in range(len(trail), 0, -1):
            made = self._kept(trail[:n_done])
            if made is not None:
                return replace(made, cached=tuple(str(step) for step, _ in trail[:n_done])), n_done
        return Made(model=self.chain.fresh_network()), 0

    def _kept(self, trail: Trail) -> Made | None:
        """Return the network that is kept for the end of a trail, with all that was found on it; None without both."""
        key = trail[-1][1]
        if not self.store.has_model(key):
            return None
        kept = self.store.get_model_with_findings(key, self.chain.fresh_network())
        if kept is None:
            return None
        model, plain = kept
        findings = self._findings_apart(trail) if plain is None else Findings.from_plain(plain)
        return None if findings is None else Made(model=model, findings=findings, cached=(str(trail[-1][0]),))

    def _findings_apart(self, trail: Trail) -> Findings | None:
        """Return what an earlier version kept beside its networks, by step; None where some of it is damaged.

        Most steps found nothing, and have no such entry.
        """
        findings = Findings()
        for name in (f"findings/{key}" for _, key in trail):
            plain = self.store.get_json(name)
            if plain is not None:
                findings.take_over(Findings.from_plain(plain))
            elif self.store.has(name):
                return None
        return findings

    def _take(self, before: Made, trail: Trail) -> Made:
        """Return what the last step of a trail makes of a network, and keep it with all that was found on the trail."""
        step, key = trail[-1]
        with self.store.lock(key):
            kept = self._kept(trail)
            if kept is not None:  # another process was quicker
                return before.followed_by(kept)
            watch = Stopwatch()
            if isinstance(step, Rounds):
                made = self._run_rounds(step, before, trail)
            else:
                made = self._apply(step, before.model, trail, watch)
            after = before.followed_by(made)
            if watch.seconds > WORTH_KEEPING_SECONDS:
                self.store.put_model(key, after.model, after.findings.to_plain())
        return after

    def _apply(self, step: Step, model: nn.Module, trail: Trail, watch: Stopwatch) -> Made:
        findings = Findings()
        context = self._context(step, trail, watch, findings)
        result = step.stage.apply(model, context).eval()
        return Made(model=result, findings=findings, seconds=watch.seconds)

    def _run_rounds(self, rounds: Rounds, before: Made, trail: Trail) -> Made:
        """Run rounds; what a round took counts, whether or not it was good enough."""
        model = before.model
        taken = Made(model=model, findings=before.findings)  # to be kept after each step

        def take(network: nn.Module, number: int) -> nn.Module:
            nonlocal taken
            taken = self._round(replace(taken, model=network), number, trail)
            return taken.model

        outcome = run_rounds(rounds, model, evaluate=self._score, take=take)
        findings = Findings()
        findings.take_over(taken.findings)
        findings.note("rounds_done", outcome.n_done)
        findings.say("stopped_by", outcome.stopped_by)
        for axis, value in (rounds.reached[outcome.n_done] if rounds.reached else {}).items():
            findings.note(f"{axis}_reached", value)
        return replace(taken, model=outcome.model, findings=findings)

    def _round(self, made: Made, number: int, trail: Trail) -> Made:
        """Run one of the rounds at the end of a trail; its steps have the keys of rounds that are written out."""
        behind, rounds = trail[:-1], trail[-1][0]
        assert isinstance(rounds, Rounds)
        steps = [step for group in rounds.rounds[: number + 1] for step in group]
        keys = prefix_keys_after(self._key_after(behind), steps)
        written = (*behind, *zip(steps, keys, strict=True))
        for n_steps in range(len(written) - len(rounds.rounds[number]), len(written)):
            made = self._take(made, written[: n_steps + 1])
        return made

    def _key_after(self, trail: Trail) -> str:
        return trail[-1][1] if trail else self.chain.prefix_keys[0]

    def _score(self, model: nn.Module) -> float:
        """Return the quality on validation, higher is better."""
        chain = self.chain
        task, data = chain.loaded_task(), chain.loaded_data()
        return evaluate(model, data, "val", task=task, side=chain.side, device=self.device).score

    def _context(self, step: Step, trail: Trail, watch: Stopwatch, findings: Findings) -> Context:
        chain, task, data = self.chain, self.chain.loaded_task(), self.chain.loaded_data()
        given_key = self._key_after(trail[:-1])
        return Context(
            data=data,
            task=task,
            side=chain.side,
            seed=chain.seed,
            step=str(step),
            device=self.device,
            evaluate=self._score,
            cost=lambda model: count_cost(model, (data.channels, chain.side, chain.side)),
            progress=None if self.progress is None else partial(self.progress, str(step)),
            snapshot=partial(self._snapshot, behind=trail[:-1]),
            teacher=partial(self._teacher, step, watch),
            validate=lambda model: evaluate(model, data, "val", task=task, side=chain.side, device=self.device),
            keep=lambda name, make: self.store.keep_tensor(f"{given_key}-{name}", make),
            findings=findings,
        )

    def _teacher(self, step: Step, watch: Stopwatch) -> Teacher:
        """Return a step's teacher; making it, and its labels, is no part of the step's own time."""
        chain = step.teacher
        if chain is None:
            raise ValueError(f"{step}: learns from a teacher, and its recipe gives it none")

        def network() -> nn.Module:
            with watch.paused():
                return make_model(chain, self.store, device=self.device).model

        def keep(name: str, make: Callable[[], Tensor]) -> Tensor:
            with watch.paused():
                return self.store.keep_tensor(name, make)

        return Teacher(key=chain.key, side=chain.side, network=network, keep=keep)

    def _snapshot(self, name: str, *, behind: Trail) -> nn.Module:
        """Return the network after an earlier step, from the store or made once more."""
        if name == "init":
            return self.chain.fresh_network()
        for number, (step, _) in enumerate(behind):
            if str(step) == name:
                return replace(self, progress=None).follow(behind[: number + 1]).model
        known = ", ".join(["init", *(str(step) for step, _ in behind)])
        raise ValueError(f"{name}: is no step before; there are {known}")
