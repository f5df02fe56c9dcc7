"""The studies of every sweep of a home as one storage, to look at with Optuna's dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from service.base.errors import InputError
from service.sweep.home import Home, SweepFolder

_CREATE_STUDY, _CREATE_TRIAL = 0, 4
"""Optuna's numbers of the two operations that give out ids."""


def show_studies(home: Home, host: str, port: int) -> None:
    """Serve Optuna's dashboard until the process is told to end.

    Raises:
        InputError: the dashboard is not installed.
    """
    try:
        from optuna_dashboard import run_server
    except ModuleNotFoundError:
        raise InputError("optuna_dashboard is missing; pip install 'gapsweep[dashboard]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run_server(JournalStorage(AllStudies(home)), host=host, port=port)


class AllStudies(BaseJournalBackend):
    """One journal made of every sweep's own; a study is named by its sweep. It cannot be written.

    For one :class:`JournalStorage`, which reads every entry once.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._journals: dict[Path, _Journal] = {}
        self._studies = self._trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """What was written since the last time, by whatever sweep."""
        for folder in self._home.sweeps():
            if folder.journal.exists():
                journal = self._journals.setdefault(folder.journal, _Journal(folder))
                for entry in journal.new():
                    yield self._counted(journal, entry)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Nothing is changed here: a study has one writer, its sweep.

        Raises:
            PermissionError: always.
        """
        raise PermissionError("the studies can only be looked at")

    def _counted(self, journal: _Journal, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry with ids that count over all journals, as its own count over itself."""
        if entry["op_code"] == _CREATE_STUDY:
            journal.study, self._studies = self._studies, self._studies + 1
            return {**entry, "study_name": journal.sweep_id}
        if entry["op_code"] == _CREATE_TRIAL:
            journal.trials.append(self._trials)
            self._trials += 1
        changed = dict(entry)
        if "study_id" in entry:
            changed["study_id"] = journal.study
        if "trial_id" in entry:
            changed["trial_id"] = journal.trials[entry["trial_id"]]
        return changed


class _Journal:
    """One sweep's journal, how far it was read, and what its ids became."""

    def __init__(self, folder: SweepFolder) -> None:
        self.sweep_id = folder.sweep_id
        self.study = 0
        self.trials: list[int] = []
        self._backend = JournalFileBackend(str(folder.journal))
        self._read = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """The entries that were not given yet."""
        for entry in self._backend.read_logs(self._read):
            self._read += 1
            yield entry
