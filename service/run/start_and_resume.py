"""Starts, resumes and continues sweeps, for the command line, the service's driver and Python."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.widening import Wider
from service.base.errors import DamagedFileError, InputError
from service.run.asked_check import refuse_asked
from service.run.prepare import Prepared, prepare, start_cluster
from service.run.user_code import find_user_code, use_folders
from service.spec.external import refuse_external
from service.spec.model import SweepSpec
from service.spec.widened import widen_spec
from service.study.records import TrialState
from service.sweep.code_record import record_code
from service.sweep.home import Home, SweepFolder
from service.sweep.load import (
    find_summary,
    has_ranges,
    load_stored_spec,
    read_sampled_spec,
    read_trials_of,
)
from service.sweep.sweep_observer import SweepObserver
from service.sweep.sweep_record import SweepState
from trainables.config.code_policy import get_policy

if TYPE_CHECKING:
    from service.cluster.connection import Cluster
    from service.run.session_plan import SessionOptions
    from service.run.sweep_control import Orders
    from service.run.sweep_session import Ending


def start_sweep(
    spec: SweepSpec,
    source: str,
    home: Home,
    ray_address: str | None,
    *,
    folders: Sequence[Path],
    observers: Sequence[SweepObserver],
) -> tuple[Ending, SweepFolder]:
    """Check a spec, create its folder and run it. ``source`` names the spec in errors.

    Raises:
        SpecError, InputError, SweepFailedError: see :func:`service.run.python_api.run`.
    """
    refuse_external(spec, source)
    with (
        start_cluster(ray_address, spec) as cluster,
        use_folders(*folders) as paths,
        ExitStack() as joined,
    ):
        from service.run.create_sweep import create_sweep
        from service.run.sweep_session import run_sweep

        shared = [home.path, *find_user_code(spec, paths)]
        prepared = prepare(spec, source, cluster, shared, joined)
        folder = create_sweep(spec, home, paths)
        record_code(folder, prepared.code)
        ending = run_sweep(
            load_stored_spec(folder),
            prepared.rows,
            folder,
            home,
            observers,
            cluster=cluster,
            options=_take_options(prepared),
            loop=prepared.loop,
        )
    return ending, folder


def resume_sweep(
    folder: SweepFolder,
    home: Home,
    ray_address: str | None,
    *,
    observers: Sequence[SweepObserver],
    more_trials: int = 0,
    wider: Wider | None = None,
    accept_changes: bool = False,
) -> Ending:
    """Run the remaining trials of a sweep, and ``more_trials`` more, with ``wider`` ranges.

    Raises:
        ProblemsError: a range cannot be widened as asked.
        SweepBusyError: another process runs it.
        ChangedSweepError: what it was run on has changed, and that is not accepted.
        SpecError, InputError, SweepFailedError: see :func:`service.run.python_api.run`.
    """
    folder.check_format()
    refuse_asked(folder)
    spec = load_stored_spec(folder)
    early = more_trials > 0 or not _has_ended(folder)
    with (
        start_cluster(ray_address, spec, early=early) as cluster,
        use_folders(*folder.read_import_paths()) as paths,
        ExitStack() as joined,
    ):
        from service.run.session_plan import More
        from service.run.sweep_session import run_sweep

        shared = [home.path, *find_user_code(spec, paths)]
        sampled = read_sampled_spec(spec, folder)
        if wider:
            sampled = widen_spec(sampled, wider, folder.sweep_id)
            _check_more(spec, folder, more_trials)
        measure = bool(wider) or not has_ranges(spec, folder)
        prepared = prepare(
            sampled, str(folder.spec), cluster, shared, joined, measure_ranges=measure
        )
        record_code(folder, prepared.code)
        return run_sweep(
            spec,
            prepared.rows,
            folder,
            home,
            observers,
            cluster=cluster,
            options=replace(
                _take_options(prepared),
                more=More(trials=more_trials),
                wider=wider or {},
                accept_changes=accept_changes,
            ),
            loop=prepared.loop,
        )


def _take_options(prepared: Prepared) -> SessionOptions:
    """What the preparation found that a session is opened with."""
    from service.run.session_plan import SessionOptions

    return SessionOptions(
        concurrent=prepared.slots,
        widths=prepared.widths,
        not_neutral=tuple(prepared.not_neutral),
        ranges=prepared.ranges,
    )


def _has_ended(folder: SweepFolder) -> bool:
    """Whether the last session left no trial to run, as far as its summary says."""
    try:
        found = find_summary(folder)
    except DamagedFileError:  # it is written anew
        return False
    return found is not None and found.state is SweepState.SUCCEEDED


def _check_more(spec: SweepSpec, folder: SweepFolder, more_trials: int) -> None:
    """Check that wider ranges will be sampled.

    Raises:
        InputError: no trial of the search is left.
    """
    study, sweep = read_trials_of(spec, folder, SweepState.RUNNING)
    budget = study.attributes.budget
    if not more_trials and budget is not None and len(sweep.searched) >= budget:
        raise InputError(
            f"{folder.sweep_id} has no trial of the search left to sample wider ranges; add some "
            "by --trials N"
        )


def continue_sweep(
    spec: SweepSpec,
    folder: SweepFolder,
    home: Home,
    *,
    cluster: Cluster,
    observers: Sequence[SweepObserver],
    extension: int,
    orders: Orders,
    accept_changes: bool = False,
    wider: Wider | None = None,
) -> Ending:
    """Run or resume a sweep in its folder for a service, whose ``orders`` may change meanwhile.

    ``extension`` is the total number of trials beyond the spec's budget; ``wider`` are the ranges
    that it was widened to. The process has entered the service's policy of code.

    Raises:
        SweepBusyError: the previous driver still holds the sweep.
        ChangedSweepError: what it was run on has changed, and that is not accepted.
        SpecError, InputError, SweepFailedError: see :func:`service.run.python_api.run`.
    """
    from service.run.create_sweep import write_sweep_files
    from service.run.session_plan import More
    from service.run.sweep_session import run_sweep

    if not folder.spec.exists():
        write_sweep_files(folder, spec, [])
    with cluster.connect(folder.ray_log), ExitStack() as joined:
        sampled = read_sampled_spec(spec, folder)
        if wider:
            sampled = widen_spec(sampled, wider, folder.sweep_id)
        measure = bool(wider) or not has_ranges(spec, folder)
        prepared = prepare(
            sampled, "the spec", cluster, [home.path], joined, measure_ranges=measure
        )
        record_code(folder, prepared.code, get_policy().bundle)
        orders.slots = orders.slots or prepared.slots  # until the service sends a limit
        return run_sweep(
            spec,
            prepared.rows,
            folder,
            home,
            observers,
            cluster=cluster,
            options=replace(
                _take_options(prepared),
                concurrent=spec.resources.concurrent,  # the cluster may grow
                more=More(extension=extension),
                orders=orders,
                accept_changes=accept_changes,
                wider=wider or {},
            ),
            loop=prepared.loop,
        )


def list_failures(ending: Ending) -> list[str]:
    """The distinct reasons of failed trials, at most three."""
    reasons = {t.reason for t in ending.sweep.trials if t.state is TrialState.FAILED and t.reason}
    return sorted(reasons)[:3]
