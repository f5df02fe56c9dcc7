"""The result of a sweep in Python: its trials, its report, its best model."""

from __future__ import annotations

import html
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from service.base.errors import InputError, NotReadyError
from service.run.user_code import use_folders
from service.sweep.environment import locate_home
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from service.sweep.refit_record import Refit, read_refit
from service.sweep.summary import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from service.report.report_data import ReportData
    from service.spec.model import SweepSpec
    from service.study.records import Trial
    from service.study.study import SweepStudy
    from service.sweep.answer import Answer
    from service.sweep.sweep_record import Sweep as SweepRecord


class Report:
    """What a sweep found so far.

    ``str(report)`` is the text of the command line; a notebook shows the page.
    """

    def __init__(self, data: ReportData) -> None:
        self.data = data

    @property
    def verdict(self) -> str:
        """Whether anything beats the baseline and how much of the gap it closes, in words."""
        return self.data.verdict

    @cached_property
    def html(self) -> str:
        """The whole report as one self-contained HTML page."""
        from service.report.page import render

        return render(self.data)

    def save(self, path: Path | str) -> None:
        """Write the HTML page to a file.

        Raises:
            InputError: the file cannot be written.
        """
        try:
            Path(path).write_text(self.html, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror})") from None

    def __str__(self) -> str:
        from service.report.console import open_console
        from service.report.terminal import print_report

        text = StringIO()
        print_report(self.data, open_console(text, width=100))
        return text.getvalue()

    def _repr_html_(self) -> str:
        """The page in an iframe, which keeps its style apart from the notebook's."""
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="800" frameborder="0"></iframe>'


@dataclass(frozen=True)
class Sweep:
    """A sweep in its folder, finished or not.

    The folder is read once, when something of it is first needed; :func:`open_sweep` again for a
    newer state of a running sweep. ``run``, ``resume`` and ``open_sweep`` return sweeps.

    Properties and methods raise InputError where the sweep has not started a trial, or where a
    newer gapsweep has written the folder.
    """

    folder: SweepFolder

    @property
    def id(self) -> str:
        """The id, for commands and :func:`resume`."""
        return self.folder.sweep_id

    @cached_property
    def _read(self) -> tuple[SweepSpec, SweepStudy, SweepRecord]:
        return read_sweep(self.folder)

    @property
    def spec(self) -> SweepSpec:
        """The spec that the sweep runs."""
        return self._read[0]

    @property
    def state(self) -> str:
        """``running``, ``interrupted``, ``succeeded`` or ``failed``."""
        return self._read[2].state.value

    @property
    def best(self) -> Trial | None:
        """The answer's pick; before there is an answer, the best completed trial of the search."""
        return self._read[2].best

    @property
    def answer(self) -> Answer | None:
        """What the sweep shows, as data; None until it has ended."""
        return self._read[2].answer

    @property
    def baseline(self) -> Trial | None:
        """The completed trial without regularisation; None if there is none yet."""
        return self._read[2].baseline

    @property
    def summary(self) -> Summary:
        """The sweep in one JSON-like model, the same as ``summary.json``."""
        return summarise(self._read[2], self.folder)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, indexed by number.

        Columns: ``state``, ``role``, ``value`` (the objective; NaN unless completed), the metrics
        at the kept weights (``val/loss``, ``gap/loss`` …), ``params.NAME`` for each parameter,
        ``epochs`` (how many ran), ``seconds``, ``reason`` (why it was pruned or failed),
        ``not_acting`` (regularisers without effect on the kept weights, separated by commas), and
        with ``search.folds`` ``folds.1.val/loss`` and alike: each fold's metrics, counted from 1.
        """
        import pandas as pd

        rows = [_build_row(trial) for trial in self._read[2].trials]
        numbers = [trial.number for trial in self._read[2].trials]
        return pd.DataFrame(rows, index=pd.Index(numbers, name="trial"))

    def records(self) -> tuple[Trial, ...]:
        """All trials with their epochs, as frozen records, by number."""
        return self._read[2].trials

    def report(self) -> Report:
        """The report on the trials so far."""
        from service.report.report_data import build_report

        _, study, record = self._read
        return Report(build_report(record, study.importances()))

    def best_model(self) -> nn.Module:
        """The best trial's network at its kept weights, in eval mode.

        It contains the preprocessing: inputs ``(B, …)`` are raw samples, as the data source has
        them; outputs ``(B, outputs)`` are logits, or a regression in the target's units.

        Raises:
            InputError: no completed trial has kept weights, or the data or your own code cannot be
                loaded.
        """
        from service.run.best_model import load_best_model
        from trainables.errors import TrainableError

        with use_folders(*self.folder.read_import_paths()):
            try:
                return load_best_model(self.spec, self._read[2], self.folder)
            except TrainableError as error:
                raise InputError(str(error)) from None

    def refit(
        self,
        *,
        name: str | None = None,
        again: bool = False,
        accept_changes: bool = False,
        progress: bool = True,
    ) -> Refit:
        """What the answer picked, trained on all samples but the test's, and registered in MLflow.

        A sweep has one refit: a second call returns it. See :func:`refit` for the arguments.

        Raises:
            GapsweepError: see :func:`refit`.
        """
        return refit(self, name=name, again=again, accept_changes=accept_changes, progress=progress)

    def refit_model(self) -> nn.Module:
        """The network of the refit, in eval mode, with its preprocessing as :meth:`best_model`.

        Raises:
            NotReadyError: the sweep has no refit.
            InputError: the data or your own code cannot be loaded, or have changed.
        """
        from service.run.refit import load_refit_model

        found = read_refit(self.folder)
        if found is None:
            raise NotReadyError(f"{self.id} has no refit; call refit() first")
        return load_refit_model(self.spec, self.folder, found)

    def __repr__(self) -> str:
        _, _, record = self._read
        return f"<gapsweep.Sweep {self.id}: {record.state.value}, {len(record.trials)} trials>"

    def _repr_html_(self) -> str:
        _, _, record = self._read
        title = f"<b>{html.escape(self.id)}</b>: {record.state.value}, {len(record.trials)} trials"
        verdict = f"<p>{html.escape(self.report().verdict)}</p>"
        columns = [c for c in ("state", "role", "value", "gap/loss") if c in self.trials]
        params = [c for c in self.trials if str(c).startswith("params.")]
        ranked = self.trials.sort_values("value", ascending=record.mode == "min")
        table = ranked[[*columns, *params]].head(10).to_html(float_format="{:.4g}".format)
        return title + verdict + table


def open_sweep(reference: str = "latest", *, home: Path | str | None = None) -> Sweep:
    """Open a sweep that was run before, or that runs in another process.

    Args:
        reference: an id, an unambiguous beginning of one, or ``latest``.
        home: the data directory (default: ``$GAPSWEEP_HOME`` or ``./gapsweep-data``).

    Raises:
        SweepNotFoundError: no sweep, or several, match.
    """
    return Sweep(locate_home(home).find(reference))


def refit(
    sweep: str | Sweep = "latest",
    *,
    name: str | None = None,
    again: bool = False,
    accept_changes: bool = False,
    home: Path | str | None = None,
    progress: bool = True,
) -> Refit:
    """Train what a sweep's answer picked on all samples but the test's, and register it in MLflow.

    Args:
        sweep: a sweep, its id, an unambiguous beginning of one, or ``latest``.
        name: the registered model (default: the sweep's name).
        again: whether to train anew where there is a refit.
        accept_changes: whether to train although data, code or libraries are not what they were.
        home: the data directory, as for :func:`open_sweep`; ignored where ``sweep`` is a ``Sweep``.
        progress: whether to show the epochs as they run.

    Returns:
        The refit, which says what was trained, on what, and its scores. ``registered`` is None
        where MLflow is off.

    Raises:
        SweepNotFoundError: no sweep, or several, match ``sweep``.
        NotReadyError: it has no completed trial.
        ChangedSweepError: what it ran on has changed, and that is not accepted.
        GapsweepError: the training failed, or MLflow refuses the model or does not answer; a
            refit that was trained is kept, and the next call registers it.
    """
    from service.report.console import open_console
    from service.report.refit_progress import show_epochs
    from service.run.register_refit import refit_sweep

    folder = sweep.folder if isinstance(sweep, Sweep) else locate_home(home).find(sweep)
    with show_epochs(open_console(stderr=True)) if progress else nullcontext(_show_nothing) as show:
        made = refit_sweep(
            folder,
            Home(folder.path.parent.parent),
            name=name,
            again=again,
            accept_changes=accept_changes,
            progress=show,
        )
    if made.error is not None:
        raise made.error
    return made.refit


def _show_nothing(epoch: int, epochs: int, loss: float) -> None:
    """Show no progress."""


def _build_row(trial: Trial) -> dict[str, object]:
    return {
        "state": trial.state.value,
        "role": trial.role.value,
        "value": trial.value,
        **trial.best,
        **{f"params.{name}": value for name, value in trial.params.items()},
        "epochs": len(trial.epochs),
        "seconds": trial.seconds,
        "reason": trial.reason,
        "not_acting": ", ".join(trial.not_acting),
        **{
            f"folds.{number}.{name}": value
            for number, fold in enumerate(trial.folds, start=1)
            for name, value in fold.items()
        },
    }
