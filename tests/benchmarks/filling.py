"""A store as long use leaves it: many sweeps that ended, their trials, epochs and events."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import insert, text

from service.client.job_states import JobState
from service.client.sweep_events import StateChanged, SweepEvent
from service.server.store.database import Database
from service.server.store.event_rows import to_values
from service.server.store.tables import Base, EpochRow, EventRow, SweepRow, TransitionRow, TrialRow
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.spec.file import dump_spec, load_spec
from service.study.events import TrialEnded
from service.study.records import Role, Trial, TrialState
from tests.commands import DIGITS

USERS = tuple(f"user{n}" for n in range(1, 6))
NAMES = ("digits-mlp", "digits-cnn", "fashion-cnn", "wine-linear", "cifar-resnet")
STATES = {
    JobState.SUCCEEDED: 84,
    JobState.FAILED: 6,
    JobState.CANCELLED: 8,
    JobState.PAUSED: 2,
}
"""How many of a hundred; none waits for a cluster, so that nothing but requests is at work."""

_EPOCHS = 10
_WITH_EPOCHS = 20  # one sweep in so many
_AGE = 300 * 86_400.0
_ROWS = 5000

Row = dict[str, Any]


def fill(database: Database, sweeps: int, trials: int) -> tuple[dict[str, str], list[str]]:
    """Fill an empty store; the users' tokens and the sweeps' ids.

    Every sweep has ``trials`` trials with an event each, every 20th one its epochs too.
    """
    users = UserStore(database)
    tokens = {name: users.create_or_update(name, UserRole.USER) for name in USERS}
    rows = list(_sweeps(sweeps, trials, dump_spec(load_spec(DIGITS))))
    _write(database, SweepRow, rows)
    _write(database, TransitionRow, (c for row in rows for c in _changes(row)))
    _write(database, TrialRow, (t for row in rows for t in _trials(row, trials)))
    _write(database, EventRow, (e for row in rows for e in _events(row, trials)))
    _write(database, EpochRow, (e for row in rows[::_WITH_EPOCHS] for e in _epochs(row, trials)))
    with database.writing() as session:
        session.execute(text("ANALYZE"))
    return tokens, [row["id"] for row in rows]


def _write(database: Database, table: type[Base], rows: Iterable[Row]) -> None:
    left = iter(rows)
    with database.writing() as session:
        while some := list(islice(left, _ROWS)):
            session.execute(insert(table), some)


def _sweeps(count: int, trials: int, spec: str) -> Iterator[Row]:
    chance, now = random.Random(0), time.time()
    for number in range(count):
        name, created = chance.choice(NAMES), now - _AGE * (1 - number / count)
        (state,) = chance.choices(list(STATES), list(STATES.values()))
        yield {
            "id": f"{name}-{chance.getrandbits(32):08x}",
            "name": name,
            "owner": chance.choice(USERS),
            "state": state.value,
            "created": created,
            "changed": created + 900.0,
            "spec": spec.replace("digits-mlp", name),
            "priority": 0,
            "after": [],
            "cause": f"{trials} complete",
            "attempt": 1,
            "failures": 0,
            "more_trials": 0,
            "launched": created + 60.0,
            "last_heartbeat": created + 900.0,
            "slot_seconds": chance.uniform(100.0, 2000.0),
            "gpu_hours": 0.0,
            "progress": _progress(trials, chance),
        }


def _progress(trials: int, chance: random.Random) -> Row:
    figures = {
        role: {"trial": n, "value": chance.random(), "gap/loss": chance.random()}
        for n, role in enumerate(("baseline", "best"))
    }
    counts = {"running": 0, "complete": trials, "pruned": 0, "failed": 0}
    return {**counts, "planned": trials, "metric": "val/loss", **figures}


def _changes(sweep: Row) -> Iterator[Row]:
    """Submitted, started, heard, ended."""
    ways = (
        (0.0, None, "queued", "submitted", sweep["owner"]),
        (60.0, "queued", "starting", "selected", "queue"),
        (70.0, "starting", "running", "its driver sent a heartbeat", "driver"),
        (900.0, "running", sweep["state"], sweep["cause"], "driver"),
    )
    for later, old, new, cause, by in ways:
        change = {"old": old, "new": new, "cause": cause, "by": by}
        yield {"sweep_id": sweep["id"], "time": sweep["created"] + later, **change}


def _trials(sweep: Row, count: int) -> Iterator[Row]:
    chance = random.Random(sweep["id"])
    for number in range(count):
        best = _metrics(chance)
        facts = {
            "params": {
                "penalty": "l1",
                "lambda": chance.random(),
                "dropout": chance.random(),
                "augmentation": "affine",
                "augmentation_strength": chance.random(),
            },
            "best": {"epoch": 36.0, **best},
            "stopped_epoch": None,
            "violation": 0.0,
            "reason": None,
            "confirms": None,
            "seed": None,
            "ran_on": {"device": "cpu", "precision": "fp32"},
        }
        yield {
            "sweep_id": sweep["id"],
            "number": number,
            "state": "complete",
            "role": "search" if number else "baseline",
            "value": best["val/loss"],
            "seconds": chance.uniform(5.0, 100.0),
            "ended": sweep["created"] + 100.0 + number,
            "facts": facts,
        }


def _epochs(sweep: Row, trials: int) -> Iterator[Row]:
    chance = random.Random(sweep["id"])
    for trial in range(trials):
        for epoch in range(1, _EPOCHS + 1):
            key = {"sweep_id": sweep["id"], "trial": trial, "epoch": epoch}
            yield {**key, "time": sweep["created"] + 80.0 + epoch, "metrics": _metrics(chance)}


def _events(sweep: Row, trials: int) -> Iterator[Row]:
    for change in _changes(sweep):
        fields = {name: change[name] for name in ("old", "new", "cause", "by")}
        yield _event(sweep, StateChanged(time=change["time"], **fields))
    chance = random.Random(sweep["id"])
    for number in range(trials):
        trial = Trial(
            number=number,
            state=TrialState.COMPLETE,
            role=Role.SEARCH,
            params={"dropout": 0.5},
            value=chance.random(),
            best=_metrics(chance),
        )
        yield _event(sweep, TrialEnded(trial=trial))


def _event(sweep: Row, event: SweepEvent) -> Row:
    return to_values(sweep["id"], event, sweep["changed"])


def _metrics(chance: random.Random) -> dict[str, float]:
    sides = {f"{s}/{m}": chance.random() for s in ("train", "val") for m in ("loss", "accuracy")}
    gaps = {f"gap/{m}": chance.random() for m in ("loss", "accuracy")}
    return {**sides, **gaps, "sparsity": 0.0}
