"""A chain's network, made: from the longest prefix of its steps that the store holds, one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from effbench.measure.compute import count_cost
from effbench.plan.chain import Chain, Rounds, Step
from effbench.plan.context import Context
from effbench.plan.findings import Findings
from effbench.plan.keys import prefix_keys_after
from effbench.plan.spent import Spent
from effbench.plan.teacher import Teacher
from effbench.plan.watching import Watching
from effbench.run.checkpoints import delete_checkpoints
from effbench.run.following import Following, Tell
from effbench.run.lessons import Lessons
from effbench.run.made import Made
from effbench.run.rounds import run_rounds
from effbench.run.stopwatch import Stopwatch
from effbench.run.store import Store
from effbench.training.evaluation import evaluate
from effbench.training.watch import UnfitState

Progress = Callable[[str, int, int], None]
"""Called as progress(step, done, in_all)."""
Trail = tuple[tuple[Step | Rounds, str], ...]
"""Steps from the fresh network on, each with the key of the network after it."""

WORTH_KEEPING_SECONDS = 0.5
"""A network whose last step was quicker than this is made again rather than kept on disk."""


def make_model(
    chain: Chain,
    store: Store,
    /,
    *,
    device: torch.device,
    progress: Progress | None = None,
    tell: Tell | None = None,
    watching: Watching | None = None,
) -> Made:
    """Run the steps of a chain, from the longest prefix that the store holds.

    tell: is told of every epoch of its trainings, those of the prefix first. watching: how trainings are followed.
    """
    maker = _Maker(chain, store, device, progress, tell, watching or Watching())
    return maker.follow(tuple(zip(chain.steps, chain.prefix_keys[1:], strict=True)))


@dataclass(frozen=True)
class _Maker:
    """Makes the networks of a chain; it remembers nothing."""

    chain: Chain
    store: Store
    device: torch.device
    progress: Progress | None
    tell: Tell | None
    watching: Watching

    def follow(self, trail: Trail) -> Made:
        """Return the network at the end of a trail."""
        made, n_done = self._resume(trail)
        self._tell_of(made.findings)
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

    def _tell_of(self, findings: Findings) -> None:
        """Tell of the epochs in which a prefix was trained."""
        if self.tell is not None:
            for row in (row for rows in findings.curves.values() for row in rows):
                self.tell(dict(row))

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
        findings = Findings(spent=Spent.from_plain(None))
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
                self._tell_of(kept.findings)
                return before.followed_by(kept)
            watch = Stopwatch()
            if isinstance(step, Rounds):
                made = self._run_rounds(step, before, trail)
            else:
                made = self._apply(step, before, trail, watch)
            after = before.followed_by(made)
            if watch.seconds > WORTH_KEEPING_SECONDS:
                self.store.put_model(key, after.model, after.findings.to_plain())
            delete_checkpoints(key, self.store)
        return after

    def _apply(self, step: Step, before: Made, trail: Trail, watch: Stopwatch, *, resumes: bool = True) -> Made:
        """Apply a stage; from its start where the checkpoint of a training turns out not to be one of it."""
        findings = Findings()
        following = self._following(step, before, trail[-1][1], watch, resumes=resumes)
        try:
            context = self._context(step, trail, watch, findings, following)
            result = step.stage.apply(before.model, context).eval()
        except UnfitState as error:
            if not resumes:
                raise
            following.give_up(error)
            return self._apply(step, before, trail, watch, resumes=False)
        following.tell_the_rest()
        seconds = watch.seconds
        is_told = following.trainings or not step.stage.TRAINS  # a user's stage may train in its own way
        macs = following.macs if is_told else None
        findings.spent.note(str(step), seconds=seconds + following.seconds_before, macs=macs)
        if following.macs_beside != 0:
            findings.spent.note_teaching(f"beside/{step}", macs=following.macs_beside)
        if following.rows:
            findings.curves[str(step)] = following.rows
        return Made(model=result, findings=findings, seconds=seconds)

    def _following(self, step: Step, before: Made, key: str, watch: Stopwatch, *, resumes: bool) -> Following:
        """Return what follows the trainings of a step."""
        told = [int(row["epoch"]) for rows in before.findings.curves.values() for row in rows]
        task, data = self.chain.loaded_task(), self.chain.loaded_data()
        return Following(
            name=step.name,
            step=str(step),
            key=key,
            store=self.store,
            device=self.device,
            how=self.watching,
            task=task,
            data=data,
            count_macs=lambda model: _macs(model, self.chain),
            validate=lambda model: evaluate(model, data, "val", task=task, side=self.chain.side, device=self.device),
            watch=watch,
            n_before=max(told, default=0),
            resumes=resumes,
            tell=self.tell,
        )

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

    def _context(self, step: Step, trail: Trail, watch: Stopwatch, findings: Findings, following: Following) -> Context:
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
            teacher=partial(self._teacher, step, watch, findings.spent),
            validate=lambda model: evaluate(model, data, "val", task=task, side=chain.side, device=self.device),
            keep=lambda name, make: self.store.keep_tensor(f"{given_key}-{name}", make),
            watch=following.begin,
            findings=findings,
        )

    def _teacher(self, step: Step, watch: Stopwatch, spent: Spent) -> Teacher:
        """Return a step's teacher; making it, and its labels, is no part of the step's own time."""
        chain = step.teacher
        if chain is None:
            raise ValueError(f"{step}: learns from a teacher, and its recipe gives it none")
        lessons = Lessons(
            teacher=chain,
            store=self.store,
            make=lambda: make_model(chain, self.store, device=self.device, watching=self.watching),
            count_macs=lambda network: _macs(network, chain),
            watch=watch,
            spent=spent,
        )
        return Teacher(key=chain.key, side=chain.side, network=lessons.network, keep=lessons.keep)

    def _snapshot(self, name: str, *, behind: Trail) -> nn.Module:
        """Return the network after an earlier step, from the store or made once more."""
        if name == "init":
            n_drawn = next((n for n, (step, _) in enumerate(behind) if not _draws_weights(step)), len(behind))
            return replace(self, progress=None, tell=None).follow(behind[:n_drawn]).model
        for number, (step, _) in enumerate(behind):
            if str(step) == name:
                return replace(self, progress=None, tell=None).follow(behind[: number + 1]).model
        known = ", ".join(["init", *(str(step) for step, _ in behind)])
        raise ValueError(f"{name}: is no step before; there are {known}")


def _draws_weights(step: Step | Rounds) -> bool:
    return isinstance(step, Step) and step.stage.DRAWS_WEIGHTS


def _macs(model: nn.Module, chain: Chain) -> int | None:
    """Return the multiply-adds for one image at a chain's side; None where they can't be counted."""
    try:
        return count_cost(model, (chain.loaded_data().channels, chain.side, chain.side)).macs
    except ValueError:
        return None
