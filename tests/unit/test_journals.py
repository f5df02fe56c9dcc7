"""Every sweep's study, seen through one storage."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage

from service.study.journals import join_journals, open_journal
from service.sweep.home import Home
from service.tracking.optuna_dashboard import list_journals


def study_of(home: Home, sweep_id: str) -> optuna.Study:
    folder = home.sweep(sweep_id)
    folder.path.mkdir(parents=True)
    folder.spec.touch()
    return optuna.create_study(storage=open_journal(folder.journal), study_name="digits")


def one_more(study: optuna.Study, value: float) -> None:
    trial = study.ask()
    trial.suggest_float("lambda", 0, 1)
    trial.report(value + 1, 1)
    study.tell(trial, value)


def seen(storage: JournalStorage) -> dict[str, list[float | None]]:
    found = optuna.get_all_study_summaries(storage)
    studies = [optuna.load_study(study_name=s.study_name, storage=storage) for s in found]
    return {s.study_name: [t.value for t in s.get_trials()] for s in studies}


def test_they_are_told_apart_however_they_were_written(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first, second = study_of(home, "digits-1"), study_of(home, "digits-2")
    for number in range(3):
        one_more(first, number)
        one_more(second, 10 + number)
    storage = join_journals(lambda: list_journals(home))
    assert seen(storage) == {"digits-1": [0, 1, 2], "digits-2": [10, 11, 12]}
    trial = optuna.load_study(study_name="digits-2", storage=storage).trials[1]
    assert (trial.number, trial.intermediate_values) == (1, {1: 12.0})
    assert trial.params == second.trials[1].params


def test_what_is_written_later_is_seen_and_so_is_a_new_sweep(tmp_path: Path) -> None:
    home = Home(tmp_path)
    storage = join_journals(lambda: list_journals(home))
    assert seen(storage) == {}
    first = study_of(home, "digits-1")
    one_more(first, 0)
    running = first.ask()
    assert seen(storage) == {"digits-1": [0, None]}
    one_more(study_of(home, "digits-0"), 5)
    first.tell(running, 1)
    assert seen(storage) == {"digits-1": [0, 1], "digits-0": [5]}


def test_they_cannot_be_changed_by_who_looks(tmp_path: Path) -> None:
    home = Home(tmp_path)
    study_of(home, "digits-1")
    storage = join_journals(lambda: list_journals(home))
    with pytest.raises(PermissionError, match="read-only"):
        optuna.delete_study(study_name="digits-1", storage=storage)
    assert seen(storage) == {"digits-1": []}
