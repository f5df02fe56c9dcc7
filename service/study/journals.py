"""The journals of studies, and one read-only storage over several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from service.study.compat import CREATE_STUDY, CREATE_TRIAL

Journals = Callable[[], Iterable[tuple[str, Path]]]
"""Lists the current names and journals; known ones stay in order, new ones may come anywhere."""


def open_journal(path: Path) -> JournalStorage:
    """Open the storage of one sweep's study."""
    return JournalStorage(JournalFileBackend(str(path)))


def join_journals(journals: Journals) -> JournalStorage:
    """Open one read-only storage of all studies, each under the name of its journal."""
    return JournalStorage(JoinedJournals(journals))


class JoinedJournals(BaseJournalBackend):
    """Joins several journals into one that is read-only, and renames each study.

    It serves one :class:`JournalStorage`, which reads every entry once.
    """

    def __init__(self, journals: Journals) -> None:
        self._list_journals = journals
        self._journals: dict[Path, _Journal] = {}
        self._studies = self._trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Return the entries that were written to any journal since the last call."""
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
        """Replace an entry's ids, which count within its journal, by ids over all journals."""
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
    """One journal, its read position, and the new ids of its study and trials."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.study = 0
        self.trials: list[int] = []
        self._backend = JournalFileBackend(str(path))
        self._read = 0

    def read_new(self) -> Iterator[dict[str, Any]]:
        """Read the entries that were not returned before."""
        for entry in self._backend.read_logs(self._read):
            self._read += 1
            yield entry
