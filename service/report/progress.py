"""Progress of a running sweep: a live table in a terminal, one line per trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from io import StringIO
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from service.base.number_format import duration, number
from service.base.streams import make_safe
from service.report.console import open_console
from service.report.formatting import format_trial
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.lost_items import describe_error
from service.sweep.sweep_observer import GuardedObserver, SweepObserver, guard
from service.sweep.sweep_record import Sweep
from service.sweep.sweep_so_far import SweepSoFar

_REDRAW = 0.5  # seconds
_CELL = '<pre style="line-height: 1.2">{code}</pre>'


class SweepView(SweepObserver):
    """The common state of views: the sweep so far, and the last epochs of running trials."""

    title = "the progress display"

    def __init__(self, console: Console) -> None:
        self.console = console
        self.sweep: SweepSoFar | None = None
        self.budget = 0
        self.last: dict[int, Epoch] = {}

    def __enter__(self) -> SweepView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: no resource is open."""

    def begin(self, sweep: Sweep, budget: int, seconds: float | None) -> None:
        """Start with the current state of the sweep."""
        self.sweep, self.budget = SweepSoFar(sweep), budget

    def started(self, trial: Trial) -> None:
        """Record a started trial."""
        self._put(trial)

    def epoch(self, epoch: Epoch) -> None:
        """Record the last epoch of a running trial, which may have been paused before."""
        self.last[epoch.trial] = epoch
        trial = self.sweep.paused.get(epoch.trial) if self.sweep else None
        if trial is not None:
            self._put(replace(trial, state=TrialState.RUNNING))

    def paused(self, trial: Trial) -> None:
        """Record a paused trial."""
        self._put(trial)

    def ended(self, trial: Trial) -> None:
        """Record an ended trial."""
        self._put(trial)

    def _put(self, trial: Trial) -> None:
        if self.sweep is not None:
            self.sweep.take(trial)
        if trial.state.has_ended:
            self.last.pop(trial.number, None)

    def count_ended(self) -> int:
        """The number of trials that have ended."""
        return self.sweep.ended if self.sweep else 0


class LineView(SweepView):
    """Prints one line for every trial that ends."""

    def begin(self, sweep: Sweep, budget: int, seconds: float | None) -> None:
        """Print the budget."""
        super().begin(sweep, budget, seconds)
        at_most = "" if seconds is None else f", at most {duration(max(0.0, seconds))}"
        done = f", {len(sweep.trials)} already started" if sweep.trials else ""
        self.console.print(f"{sweep.sweep_id}: {budget} trials{done}{at_most}", soft_wrap=True)

    def ended(self, trial: Trial) -> None:
        """Print the result of the trial."""
        super().ended(trial)
        over = self.budget - self.count_ended()
        words = [
            f"trial {trial.number:3d} {trial.state.value:8s}",
            *_format_figures(self.sweep, trial),
        ]
        at_most = "at most " if trial.replicate else ""
        line = "  ".join([*words, _describe_run(trial), f"({at_most}{over} left)"])
        self.console.print(line + self._mark(trial), soft_wrap=True)

    def _mark(self, trial: Trial) -> str:
        """What the trial is to the sweep; the best is one of those that compete, which it leads."""
        if trial.role in (Role.BASELINE, Role.CONTROL):
            return f"  ← {trial.role.value}"
        return "  ← best so far" if self.sweep is not None and self.sweep.best == trial else ""

    def paused(self, trial: Trial) -> None:
        """Print that the trial waits, and since which epoch."""
        super().paused(trial)
        last = self.last.get(trial.number)
        words = [f"trial {trial.number:3d} {trial.state.value:8s}", _describe_run(trial)]
        since = f"(at epoch {last.epoch})" if last else ""
        self.console.print("  ".join([*words, since]), soft_wrap=True)


class LiveView(SweepView):
    """A table that is updated in place, with a progress bar and the remaining time."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("trials", total=None, left="")
        self._live = Live(
            get_renderable=self._render_safely,
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._since = time.monotonic()
        self._done_before = 0
        self._deadline: float | None = None

    def __enter__(self) -> SweepView:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the table from the screen; the report follows."""
        self._live.stop()

    def begin(self, sweep: Sweep, budget: int, seconds: float | None) -> None:
        """Start the clock."""
        super().begin(sweep, budget, seconds)
        self._since, self._done_before = time.monotonic(), self.count_ended()
        self._deadline = None if seconds is None else self._since + seconds
        self._bar.update(self._task, total=budget, completed=self.count_ended())

    def ended(self, trial: Trial) -> None:
        """Advance the progress bar."""
        super().ended(trial)
        self._bar.update(self._task, completed=self.count_ended())

    def _estimate_time_left(self) -> str:
        now, done = time.monotonic(), self.count_ended() - self._done_before
        guesses = [] if self._deadline is None else [self._deadline - now]
        if done:
            guesses.append((now - self._since) / done * (self.budget - self.count_ended()))
        return f"about {duration(round(max(0.0, min(guesses))))} left" if guesses else ""

    def _render_safely(self) -> RenderableType:
        """The table; a line if it cannot be built, because a thread of rich calls this."""
        try:
            return self._render()
        except Exception as error:  # whatever is wrong with what it shows
            return Text(f"the table cannot be shown: {describe_error(error)}", style="dim")

    def _render(self) -> RenderableType:
        if self.sweep is None:
            return Text("starting …", style="dim")
        self._bar.update(self._task, left=self._estimate_time_left())
        counts = ", ".join(f"{n} {s.value}" for s, n in self.sweep.counts.items())
        return Group(
            Text(f"{self.sweep.sweep_id}: {counts}", style="bold"), self._build_table(), self._bar
        )

    def _build_table(self) -> Table:
        assert self.sweep is not None
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        for title in ("trial", "", "epoch"):
            table.add_column(title, no_wrap=True)
        for title in (self.sweep.metric, "gap/loss"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("configuration", overflow="ellipsis", no_wrap=True, ratio=1)
        finalists = (("baseline", self.sweep.baseline), ("best so far", self.sweep.best))
        for role, trial in finalists:
            if trial is not None:
                value, gap = number(trial.value), number(trial.best.get("gap/loss"))
                epoch = f"{trial.best.get('epoch', 0):.0f}"
                shown = format_trial(trial)
                table.add_row(str(trial.number), role, epoch, value, gap, shown)
        for _, trial in sorted(self.sweep.running.items()):
            last = self.last.get(trial.number)
            metrics = last.metrics if last else {}
            value, gap = (number(metrics.get(m)) for m in (self.sweep.metric, "gap/loss"))
            most = self.sweep.max_epochs if trial.replicate else self.sweep.most_epochs
            epoch = f"{last.epoch if last else 0}/{most}"
            epoch += f" (fold {last.fold})" if last and last.fold else ""
            row = (
                str(trial.number),
                "running",
                epoch,
                value,
                gap,
                _describe_run(trial),
            )
            table.add_row(*row, style="dim")
        return table


def _format_figures(sweep: SweepSoFar | None, trial: Trial) -> list[str]:
    if sweep is None or trial.state is not TrialState.COMPLETE:
        return [trial.reason] if trial.reason else []
    gap = number(trial.best.get("gap/loss"))
    return [f"{sweep.metric} {number(trial.value)}", f"gap/loss {gap}"]


def _describe_run(trial: Trial) -> str:
    """A trial's configuration; that of a replicate by the trial that it repeats."""
    if trial.role is Role.AUDIT:
        return f"pruned trial {trial.confirms} to its end"
    if not trial.replicate:
        return format_trial(trial)
    without = f" without {', '.join(trial.without)}" if trial.without else ""
    return f"replicate {trial.replicate} of trial {trial.confirms}{without}"


@contextmanager
def showing(view: SweepView) -> Iterator[GuardedObserver]:
    """Show a view in a block; whatever fails in it does not reach the block."""
    guarded = guard(view)
    guarded.attempt("the start", view.__enter__)
    try:
        yield guarded
    finally:
        guarded.attempt("the end", lambda: view.__exit__(None, None, None))


def choose_view(console: Console) -> SweepView:
    """A live table in a terminal, lines elsewhere."""
    return LiveView(console) if console.is_terminal else LineView(console)


class NotebookView(LiveView):
    """A live table in the cell of a notebook, replaced in place."""

    def __init__(self) -> None:
        super().__init__(open_console(StringIO(), record=True, width=110, force_jupyter=False))
        self._handle: Any = None
        self._shown = 0.0

    def __enter__(self) -> SweepView:
        self._display: Any = import_module("IPython.display")  # it is there in every notebook
        self._handle = self._display.display(
            self._display.HTML(self._render_html()), display_id=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show the final state; the table stays."""
        self._update(at_once=True)

    def begin(self, sweep: Sweep, budget: int, seconds: float | None) -> None:
        """Show the sweep."""
        super().begin(sweep, budget, seconds)
        self._update(at_once=True)

    def epoch(self, epoch: Epoch) -> None:
        """Update the table, at most twice per second."""
        super().epoch(epoch)
        self._update(at_once=False)

    def ended(self, trial: Trial) -> None:
        """Advance the progress bar."""
        super().ended(trial)
        self._update(at_once=False)

    def _update(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if self._handle is not None and (at_once or now - self._shown > _REDRAW):
            self._handle.update(self._display.HTML(self._render_html()))
            self._shown = now

    def _render_html(self) -> str:
        self.console.print(self._render())
        return self.console.export_html(inline_styles=True, code_format=_CELL)


class QuietView(SweepView):
    """Shows nothing."""


def choose_own_view(*, shown: bool) -> SweepView:
    """The view for this process: a notebook cell, a live table in a terminal, or lines."""
    if not shown:
        return QuietView(open_console())
    if _is_notebook():
        return NotebookView()
    console = open_console(make_safe(sys.stdout))  # Ray's messages go elsewhere
    return choose_view(console)


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
