"""A network on its way through its steps, with what was found on it and what making it took."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from effbench.plan.findings import Findings


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
