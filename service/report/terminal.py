"""Prints the report in a terminal of at least 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.base.number_format import MISSING, duration, number
from service.report.audit_text import AUDIT_COLUMNS, list_audit_rows, write_audit
from service.report.column_text import describe_columns, describe_stable, list_column_groups
from service.report.component_groups import IDLE_MARK, GroupRow, describe_idle
from service.report.edge_text import EDGES_TITLE, SEARCH_ON, write_edge
from service.report.finalist_comparison import ComparisonRow
from service.report.formatting import (
    format_bounds,
    format_mean,
    format_parts,
    format_share,
    format_signed,
    format_trial,
    format_value,
    format_with_error,
    write_trials,
)
from service.report.networks import NETWORKS_NOTE, NetworkRow, list_network_rows, name_finalists
from service.report.report_data import ReportData, list_arm_metrics
from service.report.robustness_text import describe_scores, list_robust_rows, list_scores
from service.report.verdict import describe_part
from service.study.importance import TOO_FEW_TRIALS
from service.sweep.answer import Answer, Audit, Claim
from service.sweep.inspection import InputColumns, Inspection, RobustnessSummary
from service.sweep.range_edges import EdgeWarning
from trainables.config.anatomy import Anatomy

_BAR = 28
_COLOURS = {
    Claim.HELPS: "green",
    Claim.NOT_SHOWN: "cyan",
    Claim.UNDECIDED: "yellow",
    Claim.UNCONFIRMED: "yellow",
}
_MOST_LAYERS, _LONGEST_LAYER = 24, 36
_GAP_COLUMNS = 1  # more do not fit into 80 columns


def print_report(data: ReportData, console: Console) -> None:
    """Print all sections, the comparison first, the verdict last."""
    console.print(_build_headline(data))
    if data.cost:
        console.print(Text(data.cost, style="dim"))
    for title, content in _build_sections(data):
        console.print()
        console.print(Text(title, style="bold"))
        console.print(content)
    if data.edges is not None:
        _print_edges(data.edges, console)
    console.print()
    console.print(Text(data.verdict, style=f"bold {_COLOURS[data.answer.claim]}"))


def _print_edges(warning: EdgeWarning, console: Console) -> None:
    """Print which values are at an edge, and commands in one line each, to be copied."""
    console.print()
    console.print(Text(EDGES_TITLE, style="bold yellow"))
    for edge in warning.edges:
        console.print(Text(write_edge(edge)))
    if warning.resume is None or warning.extend is None:
        return
    console.print(Text(SEARCH_ON))
    for command in (warning.resume, warning.extend):
        console.print(Text(command), soft_wrap=True)


def _build_sections(data: ReportData) -> Iterator[tuple[str, Table | Text | Padding]]:
    yield f"Baseline, control and best: {data.of_trainings}", _build_comparison(data)
    if data.not_neutral:
        yield "What else acts, in trials or in the baseline", Text("\n".join(data.not_neutral))
    if data.search_notes:
        yield "The search", Text("\n".join(data.search_notes))
    if data.idle_ranges:
        yield "Ranges that cannot act", Text("\n".join(data.idle_ranges), style="yellow")
    if data.ranges:
        yield "What the ranges of λ mean", Text("\n".join(data.ranges))
    for what, rows in (("penalty", data.by_penalty), ("augmentation", data.by_augmentation)):
        if rows:
            yield f"Best trial by {what}", _build_groups(data, what, rows)
    if data.not_acting:
        yield "Parts without any effect on what a trial kept", _build_idle(data)
    if data.answer.audit is not None:
        yield "Audit of the pruner", _build_audit(data.answer.audit)
    if data.answer.arms:
        yield "Replicates: mean ± half of the 95 % interval", _build_arms(data.answer)
    if data.answer.parts:
        yield "Parts of the pick: its difference to the pick without", _build_parts(data)
    networks = tuple(list_network_rows(data))
    if networks:
        yield "Networks", _build_networks(data, networks)
    if data.best is not None and data.best.anatomy is not None:
        yield (
            f"Layers of the best network (trial {data.best.number})",
            _build_anatomy(data.best.anatomy),
        )
    yield from _build_inspection(data.inspection)
    found = data.importances
    objective = _draw_bars(found.objective, found.objective_intervals)
    yield "What mattered for the objective", objective
    yield "What mattered for the gap", _draw_bars(found.gap, found.gap_intervals)
    yield "Epochs saved", _describe_savings(data)
    if data.refit:
        yield "Refit on all samples but the test's", Text(" ".join(data.refit))
    if data.reading:
        yield "How the data were read", Text("\n".join(data.reading))


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
    for title in name_finalists(data):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("closed", justify="right")
    for row in data.comparison:
        values = zip((row.baseline, row.control, row.best), row.errors, strict=True)
        table.add_row(row.metric, *(format_with_error(*v) for v in values), _format_closed(row))
    if data.best is not None:
        table.caption = f"best: {format_trial(data.best)}"
        table.caption += f"\n{data.gap_note}" if data.gap_note else ""
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
    table.caption = "\n".join(describe_idle(row) for row in rows if row.not_acting) or None
    table.caption_justify = "left"
    return table


def _build_cells(row: GroupRow, gaps: int) -> list[str]:
    shown = [number(gap) for gap in row.gaps[:gaps]]
    counts = [str(row.complete), str(row.pruned)]
    mark = IDLE_MARK if row.not_acting else ""
    last = [format_value(row.lam), format_value(row.dropout), f"{format_value(row.trial)}{mark}"]
    return [row.name, *counts, number(row.value), *shown, *last]


def _build_idle(data: ReportData) -> Table:
    table = Table.grid(padding=(0, 2))
    for part, trials in data.not_acting.items():
        table.add_row(format_parts([part]), f"in {write_trials(trials)}")
    return table


def _build_audit(audit: Audit) -> Table | Text:
    if not audit.overall.audited:
        return Text(write_audit(audit))
    table = _make_table()
    first, *others = AUDIT_COLUMNS
    table.add_column(first)
    for title in others:
        table.add_column(title, justify="right", overflow="fold")
    for cells in list_audit_rows(audit):
        table.add_row(*cells)
    table.caption = write_audit(audit)
    table.caption_justify = "left"
    return table


def _build_arms(answer: Answer) -> Table:
    table = _make_table()
    table.add_column("configuration", overflow="fold")
    table.add_column("n", justify="right")
    metrics = list_arm_metrics(answer)
    for title in metrics:
        table.add_column(title, justify="right", overflow="fold")
    for arm in answer.arms:
        found = [arm.metrics.get(m) for m in metrics]
        failed = f" ({arm.failed} failed)" if arm.failed else ""
        cells = [format_mean(mean) if mean else MISSING for mean in found]
        style = "bold" if arm.name == "pick" else ""
        table.add_row(arm.name, f"{arm.replicates}{failed}", *cells, style=style)
    return table


def _build_parts(data: ReportData) -> Table:
    table = _make_table()
    table.add_column("part", overflow="fold")
    for title in (data.answer.metric, "95 % interval", ""):
        table.add_column(title, justify="right")
    params = data.best.params if data.best else {}
    for part in data.answer.parts:
        effect = MISSING if part.effect is None else format_signed(part.effect)
        state = "either suffices" if part.suffices else part.state.words
        name = describe_part(part.name, params)
        table.add_row(name, effect, format_bounds(part.interval), state)
    return table


def _build_networks(data: ReportData, rows: Sequence[NetworkRow]) -> Table:
    table = _make_table()
    table.add_column("")
    for title in name_finalists(data):
        table.add_column(title, justify="right", overflow="fold")
    for row in rows:
        table.add_row(row.name, *row.cells)
    table.caption, table.caption_justify = NETWORKS_NOTE, "left"
    return table


def _build_anatomy(anatomy: Anatomy) -> Table:
    table = _make_table()
    table.add_column("layer", overflow="ellipsis", no_wrap=True)
    for title in ("weights", "zero", "dead units", "norm"):
        table.add_column(title, justify="right", no_wrap=True)
    for layer in anatomy.layers[:_MOST_LAYERS]:
        dead = f"{layer.dead} of {layer.units}" if layer.units else MISSING
        cells = (f"{layer.weights:,}", format_share(layer.sparsity), dead, number(layer.norm))
        table.add_row(_keep_end(layer.name), *cells)
    if len(anatomy.layers) > _MOST_LAYERS:
        table.caption = f"{len(anatomy.layers) - _MOST_LAYERS} more layers are in the page"
        table.caption_justify = "left"
    return table


def _keep_end(name: str) -> str:
    """A long name without its beginning, which the names of deep networks share."""
    return name if len(name) <= _LONGEST_LAYER else f"…{name[1 - _LONGEST_LAYER :]}"


def _build_inspection(found: Inspection) -> Iterator[tuple[str, Table | Text]]:
    if found.columns is not None:
        yield "Input columns that the pick keeps", _build_columns(found.columns)
    robustness = found.robustness
    if list_scores(robustness):
        yield (
            f"Corrupted test inputs: {describe_scores(robustness)}",
            _build_robustness(robustness),
        )
    elif robustness.reason:
        yield "Corrupted test inputs", Text(f"Not measured: {robustness.reason}.")


def _build_columns(found: InputColumns) -> Table | Text:
    sentence = describe_columns(found)
    if sentence:
        return Text(sentence)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for kept, names in list_column_groups(found):
        table.add_row(kept, names)
    table.caption = describe_stable(found)
    table.caption_justify = "left"
    return table


def _build_robustness(found: RobustnessSummary) -> Table:
    table = _make_table()
    table.add_column("inputs", overflow="fold")
    for arm in found.arms:
        table.add_column(f"{arm.arm} (n = {arm.trainings})", justify="right", overflow="fold")
    for row in list_robust_rows(found):
        table.add_row(row.inputs, *row.cells)
    more = f"; {found.reason}" if found.reason else ""
    table.caption = f"{found.rows:,} test samples, means over n trainings{more}"
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
        f"{savings.run} epochs ran in the search. Pruning saved {savings.pruning}"
        f" ({format_share(savings.pruning_share)} of the epochs without pruning),"
        f" early stopping {savings.early_stopping} ({format_share(savings.early_stopping_share)})."
    )
