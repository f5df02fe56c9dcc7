"""Takes the fingerprint of what a sweep runs on, and refuses changes that nobody accepted."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from pydantic import ValidationError

from service.base.errors import ChangedSweepError, Problem
from service.run.user_code import fingerprint_code
from service.spec.model import SweepSpec
from service.study.study import SweepStudy
from service.sweep.fingerprint import (
    ENVIRONMENT,
    Change,
    Effect,
    Fingerprint,
    Record,
    append_record,
    find_changes,
    read_records,
)
from service.sweep.home import SweepFolder
from trainables.config.code_files import Origin

_LIBRARIES = ("gapsweep", "torch", "numpy", "pandas", "ray", "optuna")


def take_fingerprint(
    spec: SweepSpec, data: dict[str, str], folders: Sequence[Path | str] | None = None
) -> Fingerprint:
    """What trials would run on now: ``data`` by digests, the user's code in ``folders``."""
    code = fingerprint_code(spec, folders or None)
    return Fingerprint(
        spec=spec.model_dump(mode="json", by_alias=True),
        data=data,
        code={c.module: c.digest for c in code if c.origin is not Origin.GAPSWEEP and c.digest},
        environment={"python": python_version(), **{n: _find_version(n) for n in _LIBRARIES}},
    )


def check_changes(
    folder: SweepFolder, now: Fingerprint, *, accept: bool, libraries: bool = True
) -> tuple[Change, ...]:
    """What has changed since the sweep's last session; ``libraries`` says whether those count.

    Raises:
        ChangedSweepError: a change needs to be accepted and is not, or the study cannot go on
            with it.
    """
    known = read_records(folder)
    if not known:
        return ()
    changes = find_changes(_renew(known[-1].fingerprint), now)
    if not libraries:
        changes = tuple(c for c in changes if c.place != ENVIRONMENT)
    impossible = [c for c in changes if c.effect is Effect.IMPOSSIBLE]
    if impossible:
        raise ChangedSweepError(
            f"{folder.sweep_id} cannot go on with this spec; undo it, or start a new sweep: "
            f"gapsweep run {folder.spec}",
            [Problem(c.place, c.words) for c in impossible],
        )
    serious = [c for c in changes if c.effect is Effect.REFUSED]
    if serious and not accept:
        raise ChangedSweepError(
            f"{folder.sweep_id} ran on something else, so that its trials could not be compared; "
            "undo it, or accept it with --accept-changes",
            [Problem(c.place, c.words) for c in serious],
        )
    return changes


def record_fingerprint(
    folder: SweepFolder,
    now: Fingerprint,
    changes: tuple[Change, ...],
    study: SweepStudy,
    reading: tuple[str, ...] = (),
) -> None:
    """Write down what the trials from now on run on, and how its data were read."""
    first = find_next_trial(study)
    record = Record(from_trial=first, fingerprint=now, changes=changes, reading=reading)
    append_record(folder, record)


def find_next_trial(study: SweepStudy) -> int:
    """The lowest number of a trial that has not ended."""
    ended = {t.number for t in study.trials() if t.state.has_ended}
    return next(n for n in range(len(ended) + 1) if n not in ended)


def _renew(old: Fingerprint) -> Fingerprint:
    """The fingerprint with its spec as this version reads it, with defaults of newer keys."""
    try:
        spec = SweepSpec.model_validate(old.spec)
    except ValidationError:
        return old
    return old.model_copy(update={"spec": spec.model_dump(mode="json", by_alias=True)})


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
