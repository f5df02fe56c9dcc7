"""A study as it was at a moment that its journal has, to repeat what a kill cut short.

A trial's parameters, and a decision to prune, are several writes to the journal. Where a kill came
between them, what the undisturbed run would have done next follows from the study before the first
of them. Asked again of the study as it is, a sampler or a pruner would see half of its own answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from service.study.compat import (
    CREATE_TRIAL,
    SET_INTERMEDIATE_VALUE,
    SET_STATE,
    copy_changes,
    reopen_trial,
)
from service.study.journals import ReadOnlyJournal
from service.study.records import Params

Entry = dict[str, Any]
T = TypeVar("T")


def draw_again(
    study: optuna.Study, journal: Path, number: int, space: SearchSpace, fixed: Params
) -> Params:
    """Draw the parameters of a running trial as they would have been drawn at its start.

    The study gets what is missing of them.
    """
    past = _rewind(study, _cut_after_start(_read(journal), number))
    point = suggest(space, reopen_trial(past, past.trials[number]), fixed)
    copy_changes(past, study, number)
    return point


def decide_again(
    study: optuna.Study, journal: Path, number: int, decide: Callable[[optuna.Trial], T]
) -> T:
    """What ``decide`` says of a running trial at its last epoch, as when that was reported."""
    past = _rewind(study, _cut_after_report(_read(journal), number))
    decision = decide(reopen_trial(past, past.trials[number]))
    copy_changes(past, study, number)
    return decision


def _read(journal: Path) -> list[Entry]:
    return list(ReadOnlyJournal(lambda: journal.open("rb")).read_logs(0))


def _rewind(study: optuna.Study, entries: list[Entry]) -> optuna.Study:
    """The study after some entries of its journal, in memory, with its own sampler and pruner."""
    return optuna.load_study(
        study_name=study.study_name,
        storage=JournalStorage(_Memory(entries)),
        sampler=study.sampler,
        pruner=study.pruner,
    )


def _cut_after_start(entries: list[Entry], number: int) -> list[Entry]:
    """The entries up to the one by which the trial started: its creation, or its turn to run."""
    created = [i for i, e in enumerate(entries) if e["op_code"] == CREATE_TRIAL][number]
    turns = [i for i, e in enumerate(entries) if _is_of(e, SET_STATE, number)]
    return entries[: max(created, *turns, 0) + 1]


def _cut_after_report(entries: list[Entry], number: int) -> list[Entry]:
    """The entries up to the last value that the trial reported."""
    reports = [i for i, e in enumerate(entries) if _is_of(e, SET_INTERMEDIATE_VALUE, number)]
    return entries[: reports[-1] + 1]


def _is_of(entry: Mapping[str, Any], operation: int, number: int) -> bool:
    """Whether an entry is this operation on a trial, whose id is its number in a single study."""
    return bool(entry["op_code"] == operation and entry["trial_id"] == number)


class _Memory(BaseJournalBackend):
    """A journal in memory that begins with some entries."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def read_logs(self, log_number_from: int) -> Iterable[Entry]:
        return self._entries[log_number_from:]

    def append_logs(self, logs: list[Entry]) -> None:
        self._entries += json.loads(json.dumps(logs))  # as a file would keep them
