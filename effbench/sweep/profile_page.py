"""A profile as it is shown: on a terminal, as a document, as a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console

from effbench.analysis.figures.profile_figure import profile_figure, short_count
from effbench.analysis.profile import COSTS, chosen_layers, profile_summary, with_shares
from effbench.checks.sizes import shown_size
from effbench.measure.layer_kinds import GROUPS
from effbench.measure.layer_profile import Profile
from effbench.measure.memory import PeakMemory
from effbench.sweep.documents import csv_text, json_text, markdown_table, records_of
from effbench.sweep.fitting import GAP, Column
from effbench.sweep.messages import plain
from effbench.sweep.terminal import print_line, print_rows, terminal_console

_HEADINGS = {
    "layer": "layer",
    "group": "group",
    "form": "kind",
    "layers": "layers",
    "macs": "MACs",
    "macs_effective": "effective",
    "params": "params",
    "params_nonzero": "non-zero",
    "weights": "weights",
    "activations": "activations",
    "output": "output",
}
_TEXTS = ("layer", "group", "form")
_FIRST_TO_GO = (
    *("output", "weights", "params_nonzero", "macs_effective", "layers", "group", "form"),
    *("activations_share", "params_share", "activations", "macs_share", "params"),
)
"""Columns that a narrow terminal does without, in their order."""
FIGURES = (".svg", ".png", ".pdf")
DOCUMENTS = {".csv": "csv", ".json": "json", ".md": "markdown"}
_WITHOUT_ZEROS = 0.999
"""From this share of effective multiply-adds on they are not shown beside all of them."""
_ITSELF = "(the network itself)"
Write = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class ProfilePage:
    """What is shown of a profile."""

    title: str
    input_size: tuple[int, ...]
    profile: Profile
    peak: PeakMemory | None
    """None where it can't be counted."""
    sort: str = "order"
    top: int | None = None

    @property
    def layers(self) -> pd.DataFrame:
        """The layers that are shown, with their shares of the whole network."""
        return chosen_layers(with_shares(self.profile.layers), sort=self.sort, top=self.top)

    @property
    def summary(self) -> pd.DataFrame:
        """A row per group."""
        return profile_summary(self.profile.layers, groups=GROUPS)

    def show(self, console: Console | None = None) -> None:
        """Print the layers, the groups and what there is to say beside them."""
        console = terminal_console() if console is None else console
        print_line(self.title, console)
        console.print()
        self._print(self.layers, console)
        console.print()
        self._print(self._with_total(), console, last_apart=True)
        for line in self.lines():
            print_line(line, console)

    def lines(self) -> list[str]:
        """Return what is said below the tables."""
        n_left, cost = len(self.profile.layers) - len(self.layers), self.profile.cost
        said = [f"{n_left} of {len(self.profile.layers)} layers are not shown (top={self.top})"] if n_left else []
        n_bytes = int(self.profile.layers["activation_bytes"].sum())
        said.append(f"activations: {shown_size(n_bytes)} in all, over one inference")
        if self.peak is not None:
            where = self.peak.layer or _ITSELF
            said.append(
                f"peak memory of one inference: weights {shown_size(self.peak.weights)} + activations "
                f"{shown_size(self.peak.activations)}, reached in {where}"
            )
        if cost.unknown:
            said.append(f"not counted: {', '.join(cost.unknown)}")
        return said

    def document(self, form: str, /) -> str:
        """Return it as csv (the layers that are shown), json (all of it) or markdown."""
        if form == "csv":
            return csv_text(self.layers)
        if form == "json":
            return json_text(self._record())
        tables = [self._markdown(self._with_total()), self._markdown(self.layers)]
        return "\n\n".join([plain(self.title), *tables, *self.lines()]) + "\n"

    def save(self, path: Path, /) -> None:
        """Write it into a file, of which the suffix says the form. ValueError for another; OSError where it can't."""
        check_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in DOCUMENTS:
            path.write_text(self.document(DOCUMENTS[path.suffix]), encoding="utf-8")
            return
        profile_figure(self.profile.layers, title=plain(self.title)).savefig(path, dpi=200)

    def _record(self) -> dict[str, Any]:
        cost, peak = self.profile.cost, self.peak
        peak_bytes = {} if peak is None else {"weights": peak.weights, "activations": peak.activations}
        totals = {name: getattr(cost, name) for name in ("macs", "macs_effective", "params", "params_nonzero")}
        sums = {name: int(self.profile.layers[name].sum()) for name in ("weights", "activations", "activation_bytes")}
        return {
            "network": self.title,
            "input_size": list(self.input_size),
            "totals": {**totals, **sums},
            "groups": records_of(self.summary),
            "layers": records_of(self.layers),
            "peak_bytes": peak_bytes,
            "not_counted": list(cost.unknown),
        }

    def _with_total(self) -> pd.DataFrame:
        summary = self.summary
        total = {name: summary[name].sum() for name in summary.columns if name != "group"}
        return pd.concat([summary, pd.DataFrame([{"group": "all", **total}])], ignore_index=True)

    def _names(self, table: pd.DataFrame) -> list[str]:
        """Return the columns that tell something, in their order: effective counts only of a network with zero weights.

        Single zeros that a fresh network drew are none.
        """
        has_zeros = self.profile.cost.macs_effective < _WITHOUT_ZEROS * self.profile.cost.macs
        hidden = () if has_zeros else ("macs_effective", "params_nonzero")
        return [name for name in _HEADINGS if name in table.columns and name not in hidden]

    def _columns(self, table: pd.DataFrame, write: Write) -> list[Column]:
        columns = []
        for name in self._names(table):
            values = table[name].tolist()
            is_number = name not in (*_TEXTS, "output")
            values = [value or _ITSELF for value in values] if name == "layer" else values
            cells = [("" if value == 0 else write(value)) if is_number else plain(value) for value in values]
            columns.append(_column(name, _HEADINGS[name], cells, begins=name in _TEXTS))
            if name in COSTS:
                shares = [f"{100 * share:.2f} %" if share else "" for share in table[f"{name}_share"]]
                columns.append(_column(f"{name}_share", "share", shares))
        return columns

    def _print(self, table: pd.DataFrame, console: Console, *, last_apart: bool = False) -> None:
        columns = self._columns(table, _exact)
        if _width(columns) > console.width:
            columns = self._columns(table, short_count)
        left_out: list[Column] = []
        for name in _FIRST_TO_GO:
            if _width(columns) > console.width:
                left_out += [column for column in columns if column.name == name]
                columns = [column for column in columns if column.name != name]
        print_rows(columns, console, breaks=[len(table) - 1] if last_apart else ())
        if left_out:
            titles = ", ".join(dict.fromkeys(column.title.strip() for column in left_out))
            print_line(f"not shown at {console.width} columns: {titles}; --format=csv has them", console)

    def _markdown(self, table: pd.DataFrame) -> str:
        columns = self._columns(table, _exact)
        rows = [[cell.strip() for cell in row] for row in zip(*(column.cells for column in columns), strict=True)]
        return markdown_table([column.heading.strip() for column in columns], rows)


def check_path(path: Path, /) -> None:
    """Refuse a file of no known form: ValueError."""
    if path.suffix not in (*FIGURES, *DOCUMENTS):
        known = ", ".join((*DOCUMENTS, *FIGURES))
        raise ValueError(f"out={path}: must end with one of {known}")


def _exact(count: float) -> str:
    return f"{count:,}"


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width + GAP for column in columns) - GAP


def _column(name: str, heading: str, cells: Sequence[str], *, begins: bool = False) -> Column:
    """Return a column. begins: its text begins where its heading begins; else both end at one place."""
    if begins:
        width = max(map(cell_len, (heading, *cells)))
        heading, *cells = (text + " " * (width - cell_len(text)) for text in (heading, *cells))
    return Column(name=name, heading=heading, cells=tuple(cells))
