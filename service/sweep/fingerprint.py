"""What a sweep was run on: spec, data, code, environment; and the changes that were accepted.

``fingerprints.json`` in the sweep's folder has one record for its start and one for every session
that went on after a change. A sweep that an older gapsweep started has none before it is resumed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from search_spaces.models import Frozen
from service.base.errors import DamagedFileError
from service.base.files import write_atomically
from service.sweep.home import SweepFolder


class Effect(StrEnum):
    """What a change means for a sweep that goes on."""

    FREE = "free"  # trials before and after can be compared
    REFUSED = "refused"  # trials before and after differ; refused unless it is accepted
    IMPOSSIBLE = "impossible"  # the study cannot go on with it


class Fingerprint(Frozen):
    """The spec as JSON; digests of the data's parts and of modules; versions."""

    spec: dict[str, Any]
    data: dict[str, str]
    code: dict[str, str]
    environment: dict[str, str]


class Change(Frozen):
    """One difference: where, in words, and what it means."""

    place: str
    words: str
    effect: Effect

    def __str__(self) -> str:
        return f"{self.place}: {self.words}"


class Record(Frozen):
    """What trials ran on from one on, what that changed, and how the data were read."""

    from_trial: int
    fingerprint: Fingerprint
    changes: tuple[Change, ...] = ()
    reading: tuple[str, ...] = ()

    def describe(self) -> str | None:
        """The changes that matter in one sentence; None if there is none."""
        serious = [str(c) for c in self.changes if c.effect is not Effect.FREE]
        if not serious:
            return None
        return f"From trial {self.from_trial} on it ran on something else ({'; '.join(serious)})."


_RECORDS = TypeAdapter(tuple[Record, ...])


def read_records(folder: SweepFolder) -> tuple[Record, ...]:
    """The records of a sweep, the first one first; none if there is no file.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    try:
        return _RECORDS.validate_json(folder.read(folder.fingerprints))
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]["msg"]
        place = f"{folder.sweep_id}/{folder.fingerprints.name}"
        raise DamagedFileError(f"{place} is damaged: {first}") from None


def append_record(folder: SweepFolder, record: Record) -> None:
    """Add a record to the file, unless it has one of the same fingerprint last."""
    known = read_records(folder)
    if not known or known[-1].fingerprint != record.fingerprint:
        write_atomically(
            folder.fingerprints, _RECORDS.dump_json((*known, record), indent=1).decode() + "\n"
        )


def find_changes(old: Fingerprint, new: Fingerprint) -> tuple[Change, ...]:
    """What differs between two fingerprints."""
    return (
        *_compare_specs(old.spec, new.spec),
        *_compare_data(old.data, new.data),
        *_compare_code(old.code, new.code),
        *_compare_environments(old.environment, new.environment),
    )


_FREE = ("budget.minutes", "budget.gpu_hours", "resources.")
_IMPOSSIBLE = {
    "name": "a sweep's name cannot change",
    "space": "a sweep's space cannot change",
    "objective": "a sweep's objective cannot change",
    "constraints": "a sweep's constraints cannot change",
    "search.baseline": "it only has an effect when a sweep starts",
    "search.enqueue": "it only has an effect when a sweep starts",
    "search.grid_points": "it only has an effect when a sweep starts",
    "budget.trials": "add trials with `gapsweep resume SWEEP --trials N` instead",
}
_WHOLE = ("space.", "constraints", "search.enqueue")
"""Keys below which a value is compared as a whole."""
_COMPUTING = ("python", "torch", "numpy")
"""What computes the figures of a trial: another minor version of it may compute others."""
ENVIRONMENT = "environment"
"""The place of changes of libraries."""
_LENGTH = 120


def _compare_specs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    before, after = _flatten(old), _flatten(new)
    changes = []
    for key in dict.fromkeys((*before, *after)):
        was, now = before.get(key), after.get(key)
        if was != now:
            words = f"was {_show(was)}, is {_show(now)}"
            why = next((w for k, w in _IMPOSSIBLE.items() if f"{key}.".startswith(f"{k}.")), None)
            effect = Effect.FREE if key.startswith(_FREE) else Effect.REFUSED
            if why is not None:
                effect, words = Effect.IMPOSSIBLE, f"{words}; {why}"
            changes.append(Change(place=key, words=words, effect=effect))
    return changes


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        whole = any(key.startswith(w) for w in _WHOLE)
        if isinstance(value, Mapping) and value and not whole:
            found |= _flatten(value, f"{key}.")
        else:
            found[key] = value
    return found


def _show(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


_DATA = {
    "samples": "there were {was} samples, there are {now}",
    "inputs": "the inputs are others",
    "targets": "the targets are others",
    "groups": "the column that divides the samples is another",
    "order": "the samples are in another order",
}


def _compare_data(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    """The first difference: it makes those that follow."""
    for name, words in _DATA.items():
        was, now = old.get(name), new.get(name)
        if was != now:
            said = words.format(was=was, now=now)
            yield Change(place="data", words=said, effect=Effect.REFUSED)
            return


def _compare_code(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            how = "is new" if name not in old else "is gone" if name not in new else "has changed"
            yield Change(place="code", words=f"module {name} {how}", effect=Effect.REFUSED)


def _compare_environments(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    changes = []
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name, "none"), new.get(name, "none")
        if was != now:
            computes = name in _COMPUTING and _minor(was) != _minor(now)
            effect = Effect.REFUSED if computes else Effect.FREE
            changes.append(
                Change(place=ENVIRONMENT, words=f"{name} was {was}, is {now}", effect=effect)
            )
    return changes


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])
