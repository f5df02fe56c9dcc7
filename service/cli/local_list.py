"""The table of the sweeps on this machine; a damaged folder is one row of it."""

from __future__ import annotations

from rich.table import Table

from service.base.errors import GapsweepError, NotReadyError
from service.base.folder_size import measure_folder
from service.base.number_format import duration, number, size
from service.sweep.home import Home, SweepFolder
from service.sweep.load import load_stored_spec, read_current_summary

_TITLES = ("sweep", "state", "trials", "time", "objective", "best", "gap/loss")
_SIZE = "size"


def build_list(home: Home, *, sizes: bool = False) -> tuple[Table, list[str]]:
    """One row for everything that lies where sweeps do, the oldest first; what is damaged in each.

    With ``sizes``, every folder is measured.

    Raises:
        HomeError: the folder of the sweeps cannot be read.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (*_TITLES, _SIZE) if sizes else _TITLES:
        table.add_column(title, overflow="fold", no_wrap=title == "sweep")
    damaged = []
    for folder in home.list_all():
        try:
            row = _build_row(folder)
        except NotReadyError:
            row = (folder.sweep_id, "not started")
        except GapsweepError as error:
            row = (folder.sweep_id, "damaged")
            damaged.append(str(error).splitlines()[0])
        if sizes:
            row = (*row, *[""] * (len(_TITLES) - len(row)), format_size(folder))
        table.add_row(*row)
    return table, damaged


def _build_row(folder: SweepFolder) -> tuple[str, ...]:
    """The cells of a sweep.

    Raises:
        NotReadyError: it has not started a trial.
        GapsweepError: its folder is damaged, or of a newer gapsweep.
    """
    if _is_being_made(folder):
        raise NotReadyError(f"{folder.sweep_id} has no spec yet")
    spec, found = load_stored_spec(folder), read_current_summary(folder)
    metric, metrics = spec.objective.metric, found.best.metrics if found.best else {}
    trials = f"{found.trials.total}/{spec.budget.trials}"
    figures = (number(metrics.get(metric)), number(metrics.get("gap/loss")))
    return (
        folder.sweep_id,
        found.state.value,
        trials,
        duration(found.seconds),
        metric,
        *figures,
    )


def format_size(folder: SweepFolder) -> str:
    """The size of a sweep's folder."""
    found = measure_folder(folder.path)
    return size(found.bytes) if found.complete else f"> {size(found.bytes)}"


def _is_being_made(folder: SweepFolder) -> bool:
    """Whether the folder has no spec, which is written last, and nothing of a sweep that ran."""
    ran = (folder.journal, folder.summary, folder.history)
    return folder.has_nothing_at(folder.spec) and all(map(folder.has_nothing_at, ran))
