"""Prints a comparison in a terminal of at least 80 columns, and shows the progress of replays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.base.number_format import MISSING, duration, number
from service.replay.comparison import (
    Compared,
    Comparison,
    Curve,
    Losses,
    Outcome,
    Overall,
)
from service.replay.statistics import Estimate
from service.report.formatting import format_share

_QUARTERS = (0.25, 0.5, 1.0)
_NOTE = (
    "Regret is by how much the best complete trial of a search is worse than the best "
    "configuration of the history. A search draws recorded configurations without replacement, the "
    "nearest to what its sampler proposes; intervals (95 %) are over searches of these tables, not "
    "over other data."
)


@contextmanager
def show_replays(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each of so many replays: a bar in a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (
        TextColumn("replays"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("replays", total=total)
        yield lambda: bar.advance(task)


def print_comparison(found: Comparison, console: Console) -> None:
    """Print the tables of each history, then what they come to together."""
    for compared in found.histories:
        _print_history(compared, found, console)
    if found.overall:
        console.print(Text("All histories", style="bold"))
        _print_losses(found.overall, console)
        console.print()
    console.print(Text(_NOTE, style="dim"))


def _print_history(compared: Compared, found: Comparison, console: Console) -> None:
    setting = found.setting
    console.print(Text(compared.history, style="bold"))
    console.print(
        f"{compared.configurations} configurations, the best with {compared.metric} "
        f"{number(compared.best)}; {setting.repeats} searches of {setting.trials} trials on "
        f"{_count(setting.slots, 'slot')}"
    )
    console.print()
    console.print(_build_costs(compared))
    console.print()
    console.print(_build_curves(compared))
    console.print()
    _print_losses(compared.outcomes, console)
    console.print()


def _build_costs(compared: Compared) -> Table:
    table = _make_table(compared.outcomes)
    for title in ("epochs", "time", "final regret\n(interval)", "90 %\nwithin"):
        table.add_column(title, justify="right")
    for outcome in compared.outcomes:
        table.add_row(
            *_name(outcome, compared.outcomes),
            f"{outcome.epochs.value:,.0f}",
            duration(outcome.seconds.value),
            _write(outcome.regret, _write_regret),
            _write_regret(outcome.worst_tenth),
        )
    return table


def _build_curves(compared: Compared) -> Table:
    """The median regret on the way, at shares of the epochs and the time of the longest search."""
    table = _make_table(compared.outcomes)
    for unit in ("epochs", "time"):
        for share in _QUARTERS:
            table.add_column(f"{unit}\n{100 * share:.0f} %", justify="right", no_wrap=True)
    for outcome in compared.outcomes:
        cells = (
            _write_regret(_read(curve, share))
            for curve in (outcome.by_epochs, outcome.by_seconds)
            for share in _QUARTERS
        )
        table.add_row(*_name(outcome, compared.outcomes), *cells)
    first = compared.outcomes[0]
    return _explain(
        table,
        f"median regret after shares of {first.by_epochs.at[-1]:,.0f} epochs and "
        f"{duration(first.by_seconds.at[-1])}",
    )


def _print_losses(rows: Sequence[Outcome | Overall], console: Console) -> None:
    table = _make_table(rows)
    for title in ("best\npruned", "if it is\nstrong", "if it is\nweak"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("best strong − best weak,\npoints (interval)", justify="right")
    for row in rows:
        table.add_row(*_name(row, rows), *_list_losses(row.losses))
    about = (
        "share of searches that prune the best configuration they try; strong and weak: the more "
        "and the less strongly regularised half, each of which has a best one"
    )
    console.print(_explain(table, about))


def _list_losses(losses: Losses) -> Iterator[str]:
    for share in (losses.best, losses.when_strong, losses.when_weak):
        yield MISSING if share is None else format_share(share.value)
    difference = losses.difference
    yield MISSING if difference is None else _write(difference, _write_points)


def _explain(table: Table, text: str) -> Table:
    table.caption, table.caption_justify = text, "left"
    return table


def _make_table(rows: Sequence[Outcome | Overall]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    samplers = _has_samplers(rows)
    table.add_column("pruner", overflow="fold", max_width=18 if samplers else 27)
    if samplers:
        table.add_column("sampler", overflow="fold", max_width=9)
    return table


def _name(row: Outcome | Overall, rows: Sequence[Outcome | Overall]) -> tuple[str, ...]:
    names = [shorten(row.pruner)]
    if _has_samplers(rows):
        names.append(shorten(row.sampler))
    return tuple(names)


def shorten(written: str) -> str:
    """What a spec says of a pruner, without its punctuation: ``median, startup_trials: 3``."""
    inside = written.strip().removeprefix("{").removesuffix("}")
    return inside.replace("name: ", "").strip()


def _has_samplers(rows: Sequence[Outcome | Overall]) -> bool:
    return len({row.sampler for row in rows}) > 1


def _read(curve: Curve, share: float) -> float:
    return curve.median[round(share * len(curve.median)) - 1]


def _write(estimate: Estimate, write: Callable[[float], str]) -> str:
    low, high = estimate.interval
    return f"{write(estimate.value)} ({write(low)} to {write(high)})"


def _write_regret(regret: float) -> str:
    return f"{regret:.2g}" if math.isfinite(regret) else MISSING


def _write_points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _count(number_of: int, what: str) -> str:
    return f"1 {what}" if number_of == 1 else f"{number_of} {what}s"
