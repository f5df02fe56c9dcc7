"""Runs and resumes sweeps in Python, with what is shown meanwhile."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.widening import read_wider
from service.base.errors import SweepFailedError
from service.report.progress import choose_own_view, showing
from service.run.any_spec import SpecLike, load_any
from service.run.start_and_resume import list_failures, resume_sweep, start_sweep
from service.run.sweep import Sweep
from service.study.events import TrialEvent
from service.sweep.environment import locate_home
from service.sweep.home import Home, SweepFolder
from service.sweep.sweep_observer import CallbackObserver, SweepObserver
from service.sweep.sweep_record import SweepState

if TYPE_CHECKING:
    from service.run.sweep_session import Ending


def run(
    spec: SpecLike,
    *,
    home: Path | str | None = None,
    ray_address: str | None = None,
    progress: bool = True,
    on_event: Callable[[TrialEvent], None] | None = None,
) -> Sweep:
    """Run a sweep and wait until it has ended.

    Args:
        spec: the path of a spec's file, a mapping with its keys, or a loaded spec. Relative paths
            in it start from the file's folder, else from the working directory; modules of yours
            are imported from both.
        home: the data directory (default: ``$GAPSWEEP_HOME`` or ``./gapsweep-data``).
        ray_address: a running Ray cluster (default: a new Ray on this machine, or none with
            ``resources: {executor: local}``).
        progress: whether to show the trials as they run, in a terminal or below a notebook's cell.
        on_event: called with every event of :mod:`service.study.events`, on the thread that runs
            the sweep; it must not block. An error that it raises does not end the sweep: a
            warning at the end says what it missed.

    Returns:
        The sweep. Its ``state`` is ``interrupted`` where Ctrl-C ended it early; :func:`resume`
        continues it.

    Raises:
        SpecError: the spec, its data or its network are invalid; every problem at once.
        InputError: the home cannot be written, or the cluster cannot be reached or is too small.
        SweepFailedError: no trial was completed. Finished trials are kept for :func:`resume`.
    """
    loaded, source, folders = load_any(spec)
    with showing(choose_own_view(shown=progress)) as view:
        observers = _list_observers(view, on_event)
        ending, folder = start_sweep(
            loaded, source, locate_home(home), ray_address, folders=folders, observers=observers
        )
    return _build_result(ending, folder)


def resume(
    sweep: str | Sweep = "latest",
    *,
    trials: int = 0,
    widen: Mapping[str, Any] | None = None,
    accept_changes: bool = False,
    home: Path | str | None = None,
    ray_address: str | None = None,
    progress: bool = True,
    on_event: Callable[[TrialEvent], None] | None = None,
) -> Sweep:
    """Continue an interrupted sweep, or extend a finished one.

    Args:
        sweep: a sweep, its id, an unambiguous beginning of one, or ``latest``.
        trials: how many trials to add to the budget.
        widen: wider ranges by name, as ``{"dropout": (0, 0.9)}``, and choices to add, as
            ``{"augmentation": ["noise"]}``. A parameter with several ranges has a name for each:
            ``lambda[penalty=l2]``.
        accept_changes: whether to go on although data, code or libraries are not what they were;
            the report then says from which trial on.
        home: the data directory, as for :func:`run`; ignored where ``sweep`` is a ``Sweep``.
        ray_address: as for :func:`run`.
        progress: as for :func:`run`.
        on_event: as for :func:`run`.

    Raises:
        SweepNotFoundError: no sweep, or several, match ``sweep``.
        SweepBusyError: another process runs it.
        ChangedSweepError: what it was run on has changed, and that is not accepted.
        ProblemsError: a range cannot be widened as asked.
        SpecError, InputError, SweepFailedError: see :func:`run`.
    """
    folder = sweep.folder if isinstance(sweep, Sweep) else locate_home(home).find(sweep)
    at = Home(folder.path.parent.parent)
    with showing(choose_own_view(shown=progress)) as view:
        observers = _list_observers(view, on_event)
        ending = resume_sweep(
            folder,
            at,
            ray_address,
            more_trials=trials,
            wider=read_wider(widen or {}),
            observers=observers,
            accept_changes=accept_changes,
        )
    return _build_result(ending, folder)


def _list_observers(
    view: SweepObserver, on_event: Callable[[TrialEvent], None] | None
) -> list[SweepObserver]:
    return [view] if on_event is None else [view, CallbackObserver(on_event)]


def _build_result(ending: Ending, folder: SweepFolder) -> Sweep:
    if ending.sweep.state is SweepState.FAILED:
        reasons = "; ".join(list_failures(ending)) or "no trial completed"
        raise SweepFailedError(f"{folder.sweep_id} failed: {reasons}")
    for loss in ending.losses:
        warnings.warn(f"{folder.sweep_id}: not shown: {loss}", stacklevel=3)
    return Sweep(folder)
