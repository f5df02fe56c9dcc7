"""Runs and resumes sweeps, for the command line, the service's driver and notebooks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.widening import Wider, read_wider
from service.base.collection import collect_later
from service.base.errors import DamagedFileError, InputError, SweepFailedError
from service.report.progress import choose_own_view, showing
from service.run.asked_check import refuse_asked
from service.run.sweep import Sweep
from service.run.user_code import find_user_code, fingerprint_code, pin_code, use_folders
from service.spec.external import refuse_external
from service.spec.file import load_spec, parse_spec
from service.spec.model import SweepSpec
from service.spec.widened import widen_spec
from service.study.events import TrialEvent
from service.study.records import TrialState
from service.sweep.code_record import record_code
from service.sweep.environment import locate_home, use_ray_token
from service.sweep.home import Home, SweepFolder
from service.sweep.load import (
    find_summary,
    has_ranges,
    load_stored_spec,
    read_sampled_spec,
    read_trials_of,
)
from service.sweep.sweep_observer import CallbackObserver, SweepObserver
from service.sweep.sweep_record import SweepState
from trainables.config.code_policy import get_policy

if TYPE_CHECKING:
    from service.cluster.connection import Cluster
    from service.cluster.inventory import Inventory
    from service.run.ranges import Ranges
    from service.run.sweep_control import Orders
    from service.run.sweep_session import Ending
    from trainables.config.code_files import CodeFile
    from trainables.data.rows import Rows
    from trainables.loops.rehearsal import LoopFindings

SpecLike = SweepSpec | Mapping[str, Any] | Path | str


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
        SpecError, InputError, SweepFailedError: see :func:`run`.
    """
    refuse_external(spec, source)
    with (
        _start_cluster(ray_address, spec) as cluster,
        use_folders(*folders) as paths,
        ExitStack() as joined,
    ):
        from service.run.sweep_session import create_sweep, run_sweep

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
            not_neutral=prepared.not_neutral,
            ranges=prepared.ranges,
            loop=prepared.loop,
            concurrent=prepared.slots,
            width=prepared.width,
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
        SpecError, InputError, SweepFailedError: see :func:`run`.
    """
    folder.check_format()
    refuse_asked(folder)
    spec = load_stored_spec(folder)
    early = more_trials > 0 or not _has_ended(folder)
    with (
        _start_cluster(ray_address, spec, early=early) as cluster,
        use_folders(*folder.read_import_paths()) as paths,
        ExitStack() as joined,
    ):
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
            not_neutral=prepared.not_neutral,
            ranges=prepared.ranges,
            loop=prepared.loop,
            concurrent=prepared.slots,
            width=prepared.width,
            more_trials=more_trials,
            wider=wider,
            accept_changes=accept_changes,
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
        SpecError, InputError, SweepFailedError: see :func:`run`.
    """
    from service.run.sweep_session import run_sweep, write_sweep_files

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
            not_neutral=prepared.not_neutral,
            ranges=prepared.ranges,
            loop=prepared.loop,
            concurrent=spec.resources.concurrent,  # the cluster may grow
            width=prepared.width,
            extension=extension,
            orders=orders,
            accept_changes=accept_changes,
            wider=wider,
        )


@dataclass(frozen=True)
class Prepared:
    """A valid spec's samples, how many processes fit, and the files of its code.

    Each process trains up to ``width`` trials at once.
    ``not_neutral`` says what regularises the baseline all the same, ``ranges`` what the space's
    ranges of λ mean, if they were measured, ``loop`` what is known of the user's training loop.
    """

    rows: Rows
    slots: int
    code: tuple[CodeFile, ...]
    not_neutral: tuple[str, ...]
    ranges: Ranges | None
    loop: LoopFindings | None = None
    width: int = 1


def prepare(
    spec: SweepSpec,
    source: str,
    cluster: Cluster,
    shared: Sequence[Path],
    joined: ExitStack,
    *,
    measure_ranges: bool = True,
) -> Prepared:
    """Check a spec against its data and network and, in parallel, against the cluster.

    All nodes of a cluster with several nodes must see the ``shared`` folders. This process stays
    connected to the cluster, if it has an address, until ``joined`` is closed. Ranges of λ need not
    be measured again for a sweep that has begun.

    Raises:
        SpecError: the sweep would fail; lists all problems that were found.
        InputError: the cluster cannot be reached, is too small or does not fit the executor.
    """
    from service.run.lane_plan import plan_lanes
    from service.run.preflight import run_preflight
    from service.run.sweep_session import check_executor

    check_executor(spec, cluster)
    with ThreadPoolExecutor(1) as executor:
        inventory = executor.submit(_take_inventory, cluster, shared, joined)
        code = fingerprint_code(spec, get_policy().all_folders)
        pin_code(code)
        found = run_preflight(spec, source, measure_ranges=measure_ranges)
        slots = inventory.result().check(spec)
        width = plan_lanes(spec, source, found, slots).width
        return Prepared(found.rows, slots, code, found.not_neutral, found.ranges, found.loop, width)


def _take_inventory(cluster: Cluster, shared: Sequence[Path], joined: ExitStack) -> Inventory:
    joined.enter_context(cluster.join())
    return cluster.take_inventory(shared)


def load_any(spec: SpecLike) -> tuple[SweepSpec, str, list[Path]]:
    """A spec, what errors call it, and the folders of its modules.

    Raises:
        SpecError, InputError: it is invalid, or cannot be read.
    """
    here = Path.cwd()
    match spec:
        case SweepSpec():
            return spec, "the spec", [here]
        case Mapping():
            return parse_spec(spec, "the spec", here), "the spec", [here]
    path = Path(spec)
    return load_spec(path), str(path), [path.resolve().parent, here]


@contextmanager
def _start_cluster(
    ray_address: str | None, spec: SweepSpec, *, early: bool = True
) -> Iterator[Cluster]:
    """The cluster for a sweep; a new Ray here starts ``early``, while the sweep is examined."""
    use_ray_token()
    from service.cluster.connection import Cluster

    found = Cluster(ray_address)
    with found.start_early(spec.resources) if early else nullcontext(found) as cluster:
        with collect_later():
            import_module("service.run.sweep_session")  # torch and all that a driver needs
        yield cluster


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


def list_failures(ending: Ending) -> list[str]:
    """The distinct reasons of failed trials, at most three."""
    reasons = {t.reason for t in ending.sweep.trials if t.state is TrialState.FAILED and t.reason}
    return sorted(reasons)[:3]
