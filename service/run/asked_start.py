"""Begins, extends and concludes sweeps whose trials loops elsewhere ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from search_spaces.widening import Wider
from service.base.errors import ChangedSweepError, Problem, SpecError, SweepBusyError
from service.run.create_sweep import create_sweep
from service.run.evidence import Asked
from service.run.preflight import check_components, check_replicates, run_preflight
from service.run.session_plan import More, SessionOptions
from service.run.study_turns import PATIENCE
from service.run.sweep_control import Interrupts
from service.run.sweep_session import Ending, Session
from service.run.user_code import find_code_problems, use_folders
from service.spec.model import SweepSpec
from service.sweep.asked import is_asked
from service.sweep.fingerprint import Fingerprint, find_changes
from service.sweep.history import History
from service.sweep.home import Home, SweepFolder
from service.sweep.load import find_summary, load_stored_spec, read_sweep
from service.sweep.sweep_record import SweepState
from trainables.config.imports import EXTERNAL
from trainables.data.datasets import open_rows
from trainables.data.rows import Rows
from trainables.errors import TrainableError

if TYPE_CHECKING:
    from service.run.ranges import Ranges


def find_or_begin(
    spec: SweepSpec, source: str, folders: Sequence[Path], home: Home, *, new: bool
) -> SweepFolder:
    """The newest sweep of this spec whose trials are asked for; a new one if there is none.

    Processes that call it at the same time get the same sweep, unless they want a ``new`` one.

    Raises:
        ChangedSweepError: the newest one of its name has not ended, and has another spec.
        SpecError: the spec is invalid.
        HomeError, DiskFullError: the home cannot be written.
    """
    home.create()
    with _hold(home):
        known = None if new else _find_newest(spec.name, home)
        if known is not None:
            changed = _compare(load_stored_spec(known), spec)
            if not changed:
                return known
            if not has_ended(known):
                raise ChangedSweepError(
                    f"{source} is not what {known.sweep_id} was begun with, which has not ended; "
                    "undo it, or begin another sweep with new=True",
                    changed,
                )
        return _begin(spec, source, folders, home)


def has_ended(folder: SweepFolder) -> bool:
    """Whether a sweep has its answer."""
    summary = find_summary(folder)
    return summary is not None and summary.state in (SweepState.SUCCEEDED, SweepState.FAILED)


def open_data(spec: SweepSpec) -> Rows | None:
    """The rows of a spec's data; None without data.

    Raises:
        TrainableError: the data cannot be read.
    """
    return None if spec.data is None else open_rows(spec.data)


def extend(folder: SweepFolder, home: Home, rows: Rows | None, trials: int, wider: Wider) -> None:
    """Add trials to the budget of a sweep, and widen its ranges.

    Raises:
        ProblemsError: a range cannot be widened so.
        SweepBusyError: another process holds it for long.
    """
    with folder.lock(PATIENCE):
        _open(folder, home, rows, more=More(trials, 0), wider=wider).pause()


def conclude(folder: SweepFolder, home: Home, rows: Rows | None) -> Ending | None:
    """Write a sweep's answer, report and summary; None if that is done, or not to be done now.

    Raises:
        SweepBusyError: another process holds it for long.
    """
    with folder.lock(PATIENCE):
        if has_ended(folder):
            return None
        session = _open(folder, home, rows)
        try:
            if not session.over:
                session.pause()
                return None
            session.leave_to_others()
            return session.conclude()
        except BaseException:
            session.abandon()
            raise


def _begin(spec: SweepSpec, source: str, folders: Sequence[Path], home: Home) -> SweepFolder:
    with use_folders(*folders) as paths:
        found = _check(spec, source)
        folder = create_sweep(spec, home, paths, asked=True)
        with folder.lock(PATIENCE):
            _open(folder, home, found.rows, ranges=found.ranges).pause()
        return folder


@dataclass(frozen=True)
class Checked:
    """The rows of a valid spec, how they were read, and what its ranges of λ mean."""

    rows: Rows | None
    reading: tuple[str, ...] = ()
    ranges: Ranges | None = None


def check_external(spec: SweepSpec, source: str) -> Checked:
    """Check a spec without a trainable: its components, and its data if it has any.

    Raises:
        SpecError: the sweep would fail; lists all problems that were found.
    """
    problems = [Problem(where, text) for where, text in find_code_problems(spec)]
    problems += check_components(spec)
    rows: Rows | None = None
    reading: tuple[str, ...] = ()
    try:
        rows = open_data(spec)
        if rows is not None:
            problems += check_replicates(spec, rows)[0]
            reading = Asked(rows).describe_data(spec)
    except TrainableError as error:
        problems.append(Problem("data", str(error)))
    if problems:
        raise SpecError(source, problems)
    return Checked(rows, reading)


def _check(spec: SweepSpec, source: str) -> Checked:
    if spec.search.folds is not None:
        text = (
            "needs trials that gapsweep trains: a loop that asks for its trials can train on folds "
            "itself, and report the mean over them; leave it out"
        )
        raise SpecError(source, [Problem("search.folds", text)])
    if spec.trainable == EXTERNAL:
        return check_external(spec, source)
    found = run_preflight(spec, source)
    return Checked(found.rows, ranges=found.ranges)


def _open(
    folder: SweepFolder,
    home: Home,
    rows: Rows | None,
    *,
    more: More | None = None,
    ranges: Ranges | None = None,
    wider: Wider | None = None,
) -> Session:
    """A session in which no trial is trained. The caller holds the sweep's lock."""
    spec = load_stored_spec(folder)
    known = read_sweep(folder)[2].trials if folder.has(folder.journal) else ()
    options = SessionOptions(
        more=more or More(), accept_changes=True, ranges=ranges, wider=wider or {}
    )
    with History(folder.history) as history:
        return Session(
            *(spec, Asked(rows, known), folder, home, history),
            *(options, Interrupts()),
        )


@contextmanager
def _hold(home: Home) -> Iterator[None]:
    """Lock the beginnings of sweeps in a home.

    Raises:
        SweepBusyError: another process holds the lock for long.
    """
    lock = FileLock(home.path / "asked.lock", timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise SweepBusyError(
            f"another process has been beginning a sweep in {home.path} for {PATIENCE:g} seconds"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _find_newest(name: str, home: Home) -> SweepFolder | None:
    for folder in reversed(home.sweeps()):
        named = folder.sweep_id.startswith(f"{name}-")
        if named and is_asked(folder) and load_stored_spec(folder).name == name:
            return folder
    return None


def _compare(old: SweepSpec, new: SweepSpec) -> list[Problem]:
    """What differs between two specs."""
    before, after = (
        Fingerprint(
            spec=spec.model_dump(mode="json", by_alias=True), data={}, code={}, environment={}
        )
        for spec in (old, new)
    )
    return [Problem(c.place, c.words) for c in find_changes(before, after)]
