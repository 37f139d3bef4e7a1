"""All answers of a sweep: one for each group of runs and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from effbench.analysis.contributions import axis_contributions, contributions_sentence, owes_to_several
from effbench.analysis.curves.averages import average_runs
from effbench.analysis.curves.costs import costs_that_vary
from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.groups import split_groups
from effbench.analysis.curves.reached import ended_early, with_reached
from effbench.analysis.definitions.methods import answerable_costs, options_on
from effbench.analysis.definitions.tolerance import DEFAULT_TOLERANCE
from effbench.analysis.saturation import Found, Saturation, answer_of
from effbench.analysis.sentences import details_of, sentence_of
from effbench.analysis.stability import by_definition, stability_sentence


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """Where compression stops being free, for one group of runs on one cost."""

    group: str
    """What tells the group from the others, as in "model=lenet_5"; empty where there is one."""
    runs: pd.DataFrame
    """The runs of the group, for `plot_saturation` and others."""
    cost: str | None
    """None where no cost varies, and so nothing can be drawn."""
    sentence: str
    """It begins with the group."""
    found: Found | None
    """None where no cost varies."""
    details: tuple[str, ...] = ()
    """What else is known (`detail_sentences`), with the group's first cost only."""
    definitions: tuple[tuple[str, Saturation], ...] = ()
    """What each definition comes to (`by_definition`), that of the answer included."""

    @property
    def saturation(self) -> Saturation | None:
        """The saturation point, or why there is none; None where no cost varies."""
        return None if self.found is None else self.found.saturation


def answers(
    frame: pd.DataFrame,
    *,
    quality: str | None = None,
    method: str = "tolerance",
    tolerance: float = DEFAULT_TOLERANCE,
    counts: Counts | None = None,
    test_counts: Counts | None = None,
    **options: Any,
) -> list[Answer]:
    """Answer for every group of runs (`split_groups`) on every cost that varies in it (`varying_costs`).

    Parameters and errors: as for `saturation_point`, but that there may be several groups; that other definitions,
    which stand beside the answer's own, have the tolerance as well; and that `price` is a mapping by cost: what has no
    price has no answer. A group in which no cost varies has one answer, that says so. No rows: no answers.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"] * 2, "reference": [True, False, False] * 2,
    ...      "model": ["a"] * 3 + ["b"] * 3, "size_bytes": [400, 164, 60, 90, 40, 10],
    ...      "accuracy_val": [0.960, 0.952, 0.897, 0.91, 0.88, 0.5]})
    >>> for answer in answers(runs):
    ...     print(answer.sentence)
    model=a, size_bytes: prune=0.5 keeps accuracy within 2 points (loses 0.8) at 0.41× the bytes; 0.9 loses 6.3
    model=b, size_bytes: nothing cheaper than the reference stays within 2 points: already prune=0.5 loses 3.0 points
    """
    found = []
    for group, runs in split_groups(frame).items() if len(frame) else ():
        begin = f"{group}, " if group else ""
        costs = costs_that_vary(runs)
        if not costs:
            sentence = f"{group}: {_why_none(runs)}" if group else _why_none(runs)
            found.append(Answer(group=group, runs=runs, cost=None, sentence=sentence, found=None))
        for cost in answerable_costs(costs, method, options):
            answer = answer_of(
                runs,
                cost=cost,
                quality=quality,
                method=method,
                counts=counts,
                test_counts=test_counts,
                **options_on(cost, method, options, tolerance),
            )
            definitions = tuple(by_definition(answer, tolerance))
            details = _details(runs, answer, definitions) if not any(one.group == group for one in found) else []
            found.append(
                Answer(
                    group=group,
                    runs=runs,
                    cost=cost,
                    sentence=begin + sentence_of(answer),
                    found=answer,
                    details=tuple(f"{group}: {line}" if group else line for line in details),
                    definitions=definitions,
                )
            )
    return found


def _details(runs: pd.DataFrame, found: Found, definitions: Sequence[tuple[str, Saturation]]) -> list[str]:
    """Return what else is known of an answer: of the point, of several axes, of other definitions."""
    lines = [*details_of(runs, found), stability_sentence(found, definitions)]
    if owes_to_several(found.curve):
        table = axis_contributions(runs, cost=found.curve.cost, quality=found.curve.quality_column)
        lines.append(contributions_sentence(table))
    return [line for line in lines if line]


def _why_none(runs: pd.DataFrame) -> str:
    """Say why no cost varies."""
    moves = runs.attrs.get("moves")
    if moves and not any(moves.values()):
        return f"no cost varies over these runs: {', '.join(moves)} moves none; sweep another axis beside it"
    if len(average_runs(runs).n_runs) < 2:
        return "no cost varies over these runs: there is one point; sweep an axis, as in +prune=0.1,0.5,0.9"
    labels = list(runs.loc[ended_early(runs), "point"].astype(str).unique()) if "point" in runs.columns else []
    early = [with_reached(label, runs[runs["point"].astype(str) == label]) for label in labels]
    ended = f"; rounds ended before what was asked: {'; '.join(early[:3])}" if early else ""
    return f"no cost varies over these runs by more than it jitters (2 % of bytes and multiply-adds){ended}"
