"""Asks for the trials of a sweep and tells them, from any number of processes."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.widening import read_wider
from service.base.errors import InputError
from service.run.any_spec import SpecLike, load_any
from service.run.asked_check import check_asked
from service.run.asked_start import extend, find_or_begin
from service.run.asked_sweep import LOST_AFTER, AskedSweep
from service.run.asked_trial import AskedTrial
from service.run.sweep import Sweep
from service.run.user_code import use_folders
from service.sweep.environment import locate_home
from service.sweep.home import Home, SweepFolder

_open: dict[Path, AskedSweep] = {}
"""The sweeps that :func:`ask` was called with in this process."""


def ask_tell(
    spec: SpecLike | Sweep,
    *,
    home: Path | str | None = None,
    new: bool = False,
    trials: int = 0,
    widen: Mapping[str, Any] | None = None,
    lost_after: float = LOST_AFTER,
) -> AskedSweep:
    """Open a sweep whose trials a loop of yours trains, in a notebook or in jobs of a cluster.

    >>> with gapsweep.ask_tell("spec.yaml") as sweep:
    ...     while trial := sweep.ask():
    ...         for epoch in range(trial.max_epochs):
    ...             ...
    ...             if trial.report({"train/loss": train, "val/loss": val}).stop:
    ...                 break
    ...         sweep.tell(trial)

    Args:
        spec: as for :func:`gapsweep.run`; or a sweep, its id, or ``latest``, to go on with. A spec
            goes on with the newest sweep of the same spec, so that several processes share it.
        home: the data directory (default: ``$GAPSWEEP_HOME`` or ``./gapsweep-data``).
        new: begin another sweep, although there is one of this spec.
        trials: how many trials to add to the budget.
        widen: wider ranges by name, as for :func:`gapsweep.resume`.
        lost_after: seconds without a report or a heartbeat after which a trial is taken to be lost,
            and handed out again.

    Raises:
        SpecError: the spec is invalid; every problem at once.
        ChangedSweepError: the newest sweep of this name has not ended, and has another spec.
        InputError: the sweep trains its trials itself, or the home cannot be written.
        SweepNotFoundError: no sweep, or several, match.
        SweepBusyError: another process holds it for long.
    """
    if not lost_after > 0:
        raise InputError(f"lost_after must be seconds above 0, got {lost_after!r}")
    folder, at = _find(spec, home, new=new)
    with use_folders(*folder.read_import_paths()):
        sweep = AskedSweep(folder, at, lost_after)
        if trials or widen:
            extend(folder, at, sweep.rows, trials, read_wider(widen or {}))
    if sweep.ended:
        warnings.warn(
            f"{sweep.id} has ended, so that it has no trial to ask for; new=True begins another "
            "sweep of its spec, trials=N adds trials to it",
            stacklevel=2,
        )
    return sweep


def ask(
    spec: SpecLike | Sweep | AskedSweep,
    *,
    home: Path | str | None = None,
    timeout: float | None = None,
    lost_after: float = LOST_AFTER,
) -> AskedTrial | None:
    """The next trial of a sweep; None if none is left, or none came within ``timeout`` seconds.

    Any number of processes may ask for trials of the same spec at once: no trial is handed out
    twice. One that its process neither reports nor tells for ``lost_after`` seconds is handed out
    again, with its number.

    Raises:
        GapsweepError: as :func:`ask_tell` and :meth:`AskedSweep.ask`.
    """
    if not isinstance(spec, AskedSweep):
        spec = _reopen(spec, home, lost_after)
    return spec.ask(timeout)


def tell(
    trial: AskedTrial,
    metrics: Mapping[str, Any] | None = None,
    *,
    control: Mapping[str, Any] | None = None,
    failed: str | None = None,
) -> None:
    """End a trial, see :meth:`AskedSweep.tell`.

    Raises:
        GapsweepError: as :meth:`AskedSweep.tell`.
    """
    _check(trial).sweep.tell(trial, metrics, control=control, failed=failed)


def abandon(trial: AskedTrial) -> None:
    """Give a trial back, so that it is handed out again.

    Raises:
        TrialEndedError: it was told already.
        TrialLostError: it was handed out again.
    """
    _check(trial).sweep.abandon(trial)


def _check(trial: AskedTrial) -> AskedTrial:
    if not isinstance(trial, AskedTrial):
        raise InputError(
            f"{trial!r:.60} is not a trial; give what gapsweep.ask returned, or call tell of what "
            "gapsweep.ask_tell returned with the trial's number"
        )
    return trial


def _find(
    spec: SpecLike | Sweep, home: Path | str | None, *, new: bool
) -> tuple[SweepFolder, Home]:
    if isinstance(spec, Sweep):
        check_asked(spec.folder)
        return spec.folder, Home(spec.folder.path.parent.parent)
    at = locate_home(home)
    if isinstance(spec, str) and _is_sweep(spec):
        folder = at.find(spec)
        check_asked(folder)
        return folder, at
    loaded, source, folders = load_any(spec)
    return find_or_begin(loaded, source, folders, at, new=new), at


def _is_sweep(text: str) -> bool:
    """Whether a text names a sweep, and no file."""
    return not Path(text).suffix and not Path(text).exists()


def _reopen(spec: SpecLike | Sweep, home: Path | str | None, lost_after: float) -> AskedSweep:
    """The sweep as this process has it already, or opened."""
    folder, _ = _find(spec, home, new=False)
    known = _open.get(folder.path)
    if known is None:
        known = _open[folder.path] = ask_tell(Sweep(folder), lost_after=lost_after)
        atexit.register(known.close)
    return known
