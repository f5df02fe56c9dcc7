"""Several trials in a process, and the same trials alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.cluster.divisions import TrialContext
from service.cluster.slot import Slot
from service.cluster.worker import Worker
from service.spec.file import parse_spec
from service.study.messages import Answer, Assignment
from service.study.records import Role
from tests.trainings import splits
from trainables.data.rows import GivenRows

EPOCHS = 3


def context(folder: Path, **more: Any) -> TrialContext:
    raw = {
        "name": "slot",
        "trainable": "trainables.models:MLP",
        "model": {"hidden": [8]},
        "data": {"name": "digits"},
        "training": {"max_epochs": EPOCHS, "batch_size": 16},
        "space": {
            "dropout": {"float": [0.0, 0.5]},
            "batch_size": {"choice": [16, 20]},
            "lr": {"float": [0.01, 1.0]},
        },
        "early_stopping": None,
        **more,
    }
    return TrialContext(parse_spec(raw, "spec", folder), GivenRows(splits(60, 30)), folder)


def point(number: int) -> Assignment:
    params = {"dropout": 0.1 * (number % 5), "lr": 0.02, "batch_size": 16}
    return Assignment(number, params, Role.SEARCH)


def open_slot(folder: Path, *assignments: Assignment, width: int = 4, **more: Any) -> Slot:
    slot = Slot(context(folder, **more), width)
    for assignment in assignments:
        slot.take(assignment)
    return slot


def train_alone(folder: Path, assignment: Assignment, **more: Any) -> list[Answer]:
    worker = Worker(context(folder, **more))
    worker.take(assignment)
    answers = [worker.advance() for _ in range(EPOCHS)]
    worker.close()
    return answers
