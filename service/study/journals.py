"""Every sweep's journal as one, to look at several studies through one storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from service.study.compat import CREATE_STUDY, CREATE_TRIAL

Journals = Callable[[], Iterable[tuple[str, Path]]]
"""The names and journals that there are now, always in the same order but for new ones."""


def open_journal(path: Path) -> JournalStorage:
    """The storage of one sweep's study."""
    return JournalStorage(JournalFileBackend(str(path)))


def join_journals(journals: Journals) -> JournalStorage:
    """A storage of every study, each under the name that comes with its journal; read only."""
    return JournalStorage(JoinedJournals(journals))


class JoinedJournals(BaseJournalBackend):
    """One journal made of several; each study is renamed. It cannot be written.

    For one :class:`JournalStorage`, which reads every entry once.
    """

    def __init__(self, journals: Journals) -> None:
        self._list_journals = journals
        self._journals: dict[Path, _Journal] = {}
        self._studies = self._trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """What was written since the last time, to whichever journal."""
        for name, path in self._list_journals():
            if path.exists():
                journal = self._journals.setdefault(path, _Journal(name, path))
                for entry in journal.read_new():
                    yield self._renumber(journal, entry)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse: a study has one writer, its sweep.

        Raises:
            PermissionError: always.
        """
        raise PermissionError("the studies are read-only")

    def _renumber(self, journal: _Journal, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry with ids that count over all journals, as its own count over itself."""
        if entry["op_code"] == CREATE_STUDY:
            journal.study, self._studies = self._studies, self._studies + 1
            return {**entry, "study_name": journal.name}
        if entry["op_code"] == CREATE_TRIAL:
            journal.trials.append(self._trials)
            self._trials += 1
        changed = dict(entry)
        if "study_id" in entry:
            changed["study_id"] = journal.study
        if "trial_id" in entry:
            changed["trial_id"] = journal.trials[entry["trial_id"]]
        return changed


class _Journal:
    """One journal, how far it was read, and what its ids became."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.study = 0
        self.trials: list[int] = []
        self._backend = JournalFileBackend(str(path))
        self._read = 0

    def read_new(self) -> Iterator[dict[str, Any]]:
        """The entries that were not returned yet."""
        for entry in self._backend.read_logs(self._read):
            self._read += 1
            yield entry
