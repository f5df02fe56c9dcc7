"""Prints the report in a terminal of at least 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.base.number_format import MISSING, duration, number
from service.report.formatting import (
    format_configuration,
    format_interval,
    format_share,
    format_signed,
    format_value,
)
from service.report.report_data import ComparisonRow, GroupRow, ReportData
from service.study.importance import TOO_FEW_TRIALS
from trainables.config.anatomy import Anatomy

_BAR = 28
_GAP_COLUMNS = 1  # more do not fit into 80 columns


def print_report(data: ReportData, console: Console) -> None:
    """Print all sections, the comparison first, the verdict last."""
    console.print(_build_headline(data))
    for title, content in _build_sections(data):
        console.print()
        console.print(Text(title, style="bold"))
        console.print(content)
    console.print()
    console.print(Text(data.verdict, style="bold green" if data.best else "bold yellow"))


def _build_sections(data: ReportData) -> Iterator[tuple[str, Table | Text | Padding]]:
    yield "Baseline against best", _build_comparison(data)
    for what, rows in (("penalty", data.by_penalty), ("augmentation", data.by_augmentation)):
        if rows:
            yield f"Best trial by {what}", _build_groups(data, what, rows)
    if data.confirmed:
        seeds = data.confirmed[0].seeds
        yield f"Confirmed with {seeds} new seeds: mean ± 95 % interval", _build_confirmed(data)
    if data.best is not None and data.best.anatomy is not None:
        yield (
            f"Layers of the best network (trial {data.best.number})",
            _build_anatomy(data.best.anatomy),
        )
    found = data.importances
    objective = _draw_bars(found.objective, found.objective_intervals)
    yield "What mattered for the objective", objective
    yield "What mattered for the gap", _draw_bars(found.gap, found.gap_intervals)
    yield "Epochs saved", _describe_savings(data)


def _build_headline(data: ReportData) -> Text:
    counts = ", ".join(f"{n} {state}" for state, n in data.counts.items() if n) or "no trials"
    line = f"{data.name}  {data.sweep_id}  {data.state.value}: {counts}, {duration(data.seconds)}"
    return Text(line, style="bold")


def _make_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)


def _build_comparison(data: ReportData) -> Table | Text:
    if not data.comparison:
        return Text("no trial completed")
    table = _make_table()
    table.add_column("metric")
    for role, trial in (("baseline", data.baseline), ("best", data.best)):
        title = f"{role} (trial {trial.number})" if trial else f"{role} (none)"
        table.add_column(title, justify="right")
    table.add_column("gap closed", justify="right")
    for row in data.comparison:
        table.add_row(row.metric, number(row.baseline), number(row.best), _format_closed(row))
    if data.best is not None:
        table.caption = f"best: {format_configuration(data.best.params)}"
        table.caption_justify = "left"
    return table


def _format_closed(row: ComparisonRow) -> Text:
    if row.note:
        return Text(row.note, style="dim")
    if row.closed is None:
        return Text("")
    return Text(format_share(row.closed), style="green" if row.closed > 0 else "red")


def _build_groups(data: ReportData, what: str, rows: Sequence[GroupRow]) -> Table:
    table = _make_table()
    table.add_column(what, overflow="fold")
    gaps = data.gap_metrics[:_GAP_COLUMNS]
    for title in ("done", "pruned", data.metric, *gaps, "λ", "dropout", "trial"):
        table.add_column(title, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*_build_cells(row, len(gaps)))
    return table


def _build_cells(row: GroupRow, gaps: int) -> list[str]:
    shown = [number(gap) for gap in row.gaps[:gaps]]
    counts = [str(row.complete), str(row.pruned)]
    last = [format_value(row.lam), format_value(row.dropout), format_value(row.trial)]
    return [row.name, *counts, number(row.value), *shown, *last]


def _build_confirmed(data: ReportData) -> Table:
    table = _make_table()
    table.add_column("trial", justify="right")
    metrics = [data.metric, *(m for m in ("test/loss", "gap/loss") if m != data.metric)]
    for title in (*metrics, "− baseline", "p"):
        table.add_column(title, justify="right", overflow="fold")
    for row in data.confirmed:
        found = [row.intervals.get(m) for m in metrics]
        cells = [format_interval(i) if i else MISSING for i in found]
        compared = row.comparison
        difference = format_signed(compared.difference.mean) if compared else "baseline"
        p = f"{compared.p:.2g}" if compared else ""
        style = "green" if compared and compared.better else ""
        table.add_row(str(row.trial.number), *cells, difference, p, style=style)
    tests = sorted({r.comparison.test for r in data.confirmed if r.comparison})
    table.caption = f"{', '.join(tests)}; p corrected by Holm's method" if tests else ""
    table.caption_justify = "left"
    return table


def _build_anatomy(anatomy: Anatomy) -> Table:
    table = _make_table()
    table.add_column("layer", overflow="ellipsis", no_wrap=True)
    for title in ("weights", "zero", "dead units", "norm"):
        table.add_column(title, justify="right")
    for layer in anatomy.layers:
        dead = f"{layer.dead} of {layer.units}" if layer.units else MISSING
        cells = (f"{layer.weights:,}", format_share(layer.sparsity), dead, number(layer.norm))
        table.add_row(layer.name, *cells)
    table.caption = f"{anatomy.effective:,} of {anatomy.parameters:,} parameters are not zero"
    table.caption_justify = "left"
    return table


def _draw_bars(
    shares: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> Table | Text:
    if not shares:
        return Text(TOO_FEW_TRIALS)
    table = Table.grid(padding=(0, 1))
    largest = max(shares.values()) or 1.0
    for name, share in shares.items():
        length = round(_BAR * share / largest)
        limits = " to ".join(map(format_share, intervals.get(name, ())))
        bar = Text("━" * length, style="cyan")
        table.add_row(name, bar, format_share(share), f"({limits})" if limits else "")
    return table


def _describe_savings(data: ReportData) -> Text:
    savings = data.savings
    return Text(
        f"{savings.run} epochs ran. Pruning saved {savings.pruning}"
        f" ({format_share(savings.pruning_share)} of the epochs without pruning),"
        f" early stopping {savings.early_stopping} ({format_share(savings.early_stopping_share)})."
    )
