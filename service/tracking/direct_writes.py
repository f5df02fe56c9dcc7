"""Writes the runs of trials into MLflow's SQLite database, many of them in one transaction.

MLflow's client takes four to five calls a trial, each a transaction through an object mapper: 20 to
30 ms of CPU time in the process that also schedules the trials. These are the rows that it would
write, which a test compares. Whoever gets an error from here asks the client instead.
"""

from __future__ import annotations

import math
import sqlite3
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NAME
from mlflow.utils.uri import append_to_uri_path

from service.tracking.refusals import Entity

_PATIENCE = 20.0
"""Seconds to wait for other writers, as MLflow does."""
_RUN = """
    INSERT INTO runs (run_uuid, name, artifact_uri, experiment_id, start_time, source_type,
        source_name, entry_point_name, source_version, user_id, status, lifecycle_stage)
    VALUES (?, ?, ?, ?, ?, 'UNKNOWN', '', '', '', 'unknown', 'RUNNING', 'active')
"""
_STATUS = "UPDATE runs SET status = ?, end_time = coalesce(?, end_time) WHERE run_uuid = ?"
_TAG = """
    INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)
    ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value
"""
_PARAM = "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_METRIC = """
    INSERT INTO metrics (run_uuid, key, step, timestamp, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
_LATEST = """
    INSERT INTO latest_metrics (run_uuid, key, step, timestamp, value, is_nan)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key, run_uuid) DO UPDATE SET step = excluded.step,
        timestamp = excluded.timestamp, value = excluded.value, is_nan = excluded.is_nan
    WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)
"""
_INPUT = """
    INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id)
    VALUES (?, 'DATASET', ?, 'RUN', ?)
"""
_INPUT_TAG = "INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, 'training')"

_Point = tuple[str, str, int, int, float, bool]
"""Run, name, step, time, value, and whether it is not a number."""


@dataclass(frozen=True, kw_only=True)
class RunChange:
    """What is new of one run.

    ``created`` are the tags of a run that does not exist yet, which began at ``started`` in Unix
    milliseconds; ``uses_data`` says whether its data set is to be added. A ``status`` is set with
    the time of an end, if there is one.
    """

    run: str
    created: Mapping[str, str] | None
    started: int
    uses_data: bool
    entities: Sequence[Entity]
    status: str | None = None
    ended: int | None = None


@dataclass(frozen=True)
class DirectWriter:
    """Writes to one experiment of one database; ``data`` are a data set's name and its digest."""

    path: Path
    experiment: str
    data: tuple[str, str]

    def write(self, changes: Sequence[RunChange]) -> None:
        """Write all changes, or none.

        Raises:
            LookupError: the experiment, a run or the data set is not there, or was deleted.
            sqlite3.Error: the database is locked, damaged, or has other tables.
        """
        with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as database, database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("BEGIN IMMEDIATE")
            place = self._find_place(database)
            _check_runs(database, [c.run for c in changes if c.created is None])
            made = [c for c in changes if c.created is not None]
            database.executemany(_RUN, [self._build_run(c, place) for c in made])
            database.executemany(_TAG, list(_list_tags(changes)))
            database.executemany(_PARAM, list(_list_texts(changes, Param)))
            points = list(_list_points(changes))
            database.executemany(_METRIC, points)
            database.executemany(_LATEST, _find_latest(points))
            self._add_inputs(database, [c.run for c in changes if c.uses_data])
            ends = [(c.status, c.ended, c.run) for c in changes if c.status is not None]
            database.executemany(_STATUS, ends)

    def _find_place(self, database: sqlite3.Connection) -> str:
        """Where the experiment has its artifacts."""
        found = database.execute(
            "SELECT artifact_location FROM experiments WHERE experiment_id = ? "
            "AND lifecycle_stage = 'active'",
            (int(self.experiment),),
        ).fetchone()
        if found is None:
            raise LookupError("the experiment was deleted")
        return str(found[0])

    def _build_run(self, change: RunChange, place: str) -> tuple[str | int, ...]:
        artifacts = str(append_to_uri_path(place, change.run, "artifacts"))  # type: ignore[no-untyped-call]  # MLflow's
        name = (change.created or {})[MLFLOW_RUN_NAME]
        return (change.run, name, artifacts, int(self.experiment), change.started)

    def _add_inputs(self, database: sqlite3.Connection, runs: Sequence[str]) -> None:
        """Add the edges from the data set to runs."""
        if not runs:
            return
        found = database.execute(
            "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?",
            (int(self.experiment), *self.data),
        ).fetchone()
        if found is None:
            raise LookupError("the data set is not there")
        edges = [(uuid.uuid4().hex, found[0], run) for run in runs]
        database.executemany(_INPUT, edges)
        database.executemany(_INPUT_TAG, [(edge, MLFLOW_DATASET_CONTEXT) for edge, *_ in edges])


def _check_runs(database: sqlite3.Connection, runs: Sequence[str]) -> None:
    for run in runs:
        found = database.execute("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", (run,))
        if found.fetchone() != ("active",):
            raise LookupError(f"the run {run} was deleted")


def _list_texts(
    changes: Iterable[RunChange], kind: type[Param | RunTag]
) -> Iterator[tuple[str, str, str]]:
    """The rows of all parameters or tags."""
    for change in changes:
        for one in change.entities:
            if isinstance(one, kind):
                yield change.run, str(one.key), str(one.value)


def _list_tags(changes: Sequence[RunChange]) -> Iterator[tuple[str, str, str]]:
    for change in changes:
        for key, value in (change.created or {}).items():
            yield change.run, key, value
    yield from _list_texts(changes, RunTag)


def _list_points(changes: Iterable[RunChange]) -> Iterator[_Point]:
    for change in changes:
        for one in change.entities:
            if isinstance(one, Metric):
                value, is_nan = _store_value(one.value)
                yield change.run, one.key, one.step, one.timestamp, value, is_nan


def _store_value(value: float) -> tuple[float, bool]:
    """A number as MLflow stores it: 0 for not a number, the largest ones for infinite ones."""
    if math.isnan(value):
        return 0.0, True
    return min(max(value, -sys.float_info.max), sys.float_info.max), False


def _find_latest(points: Iterable[_Point]) -> list[_Point]:
    """The last point of each metric of each run, by step, time and value, as MLflow takes it."""
    found: dict[tuple[str, str], _Point] = {}
    for point in points:
        known = found.setdefault(point[:2], point)
        if point[2:5] > known[2:5]:
            found[point[:2]] = point
    return list(found.values())
