"""The journals of studies: one to write to, one to read, and one storage over several."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from service.study.compat import CREATE_STUDY, CREATE_TRIAL, DELETE_STUDY
from service.study.journal_file import JournalFile

Opener = Callable[[], BinaryIO]
"""Opens a journal for reading; raises FileNotFoundError where there is none."""
Journals = Callable[[], Iterable[tuple[str, Opener]]]
"""Lists the current names and journals; known ones stay in order, new ones may come anywhere."""
Entry = Mapping[str, Any]
_ONLY_STUDY = 0
"""The id of the first study of a journal."""


def open_journal(path: Path) -> JournalStorage:
    """Open the storage of one sweep's study, to write to it. The caller holds the sweep's lock."""
    return JournalStorage(JournalFile(path))


def read_journal(opener: Opener) -> JournalStorage:
    """Open one study's storage for reading. The file may be a stranger's.

    Raises:
        Exception: whatever Optuna raises for entries that are not a study's.
    """
    return JournalStorage(ReadOnlyJournal(opener))


def join_journals(journals: Journals) -> JournalStorage:
    """Open one read-only storage of all studies, each under the name of its journal."""
    return JournalStorage(JoinedJournals(journals))


def count_trials(journal: bytes) -> int:
    """How many trials a journal's whole lines have created; their numbers count from 0."""
    created = 0
    for line in journal.splitlines():
        with suppress(ValueError, KeyError, TypeError):  # damaged, which a reader says
            created += json.loads(line)["op_code"] == CREATE_TRIAL
    return created


class _ReadOnly(BaseJournalBackend):
    """Refuses to write."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse: a study has one writer, its sweep.

        Raises:
            PermissionError: always.
        """
        raise PermissionError("the studies are read-only")


class ReadOnlyJournal(_ReadOnly):
    """A journal that is opened anew whenever it is read; it serves one storage.

    A journal that another one replaced, which has wider ranges, is at its end for ever.
    """

    def __init__(self, opener: Opener) -> None:
        self._open, self._read, self._offset = opener, 0, 0
        self._file: int | None = None

    def is_replaced(self) -> bool:
        """Whether another file is where the one that was read was.

        Raises:
            FileNotFoundError: there is none now.
        """
        with self._open() as file:
            return self._is_other(file)

    def _is_other(self, file: BinaryIO) -> bool:
        found = os.fstat(file.fileno())
        self._file = self._file or found.st_ino
        return found.st_ino != self._file or found.st_size < self._offset

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Return the entries from a number on; a last line that is not whole is left for later.

        Raises:
            ValueError, RecursionError: a line is not JSON, or too deep.
        """
        with self._open() as file:
            if self._is_other(file):
                return
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                self._read += 1
                if self._read > log_number_from:
                    yield json.loads(line)


class JoinedJournals(_ReadOnly):
    """Joins several journals into one that is read-only, and renames each study.

    It serves one :class:`JournalStorage`, which reads every entry once. A journal that is missing,
    or damaged from some entry on, does not hide the others.
    """

    def __init__(self, journals: Journals) -> None:
        self._list_journals = journals
        self._journals: dict[str, _Journal] = {}
        self._studies = self._trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Return the entries that were written to any journal since the last call."""
        for name, opener in self._list_journals():
            journal = self._journals.setdefault(name, _Journal(name, opener))
            if journal.is_replaced():
                yield from journal.delete()
                journal = self._journals[name] = _Journal(name, opener)
            for entry in journal.read_new():
                yield self._renumber(journal, entry)

    def _renumber(self, journal: _Journal, entry: Entry) -> dict[str, Any]:
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

    def __init__(self, name: str, opener: Opener) -> None:
        self.name = name
        self.study = 0
        self.trials: list[int] = []
        self._file = ReadOnlyJournal(opener)
        self._rehearsal = _Rehearsal()
        self._read = 0
        self._damaged = False

    def is_replaced(self) -> bool:
        """Whether the journal was written again, with wider ranges, since it was read."""
        try:
            return self._file.is_replaced()
        except Exception:  # whatever a file raises: the other studies are not to blame
            return False

    def delete(self) -> Iterator[dict[str, Any]]:
        """Return the entry that deletes the study, if there is one."""
        if self._read:
            yield {"op_code": DELETE_STUDY, "worker_id": "", "study_id": self.study}

    def read_new(self) -> Iterator[Entry]:
        """Return the entries that were not returned before, up to the first that is damaged."""
        if self._damaged:
            return
        try:
            for entry in self._file.read_logs(self._read):
                self._rehearsal.check(entry)
                self._read += 1
                yield entry
        except FileNotFoundError:
            return
        except Exception:  # whatever a file or Optuna raises: the other studies are not to blame
            self._damaged = True


class _Rehearsal(_ReadOnly):
    """Replays a journal alone: an entry that cannot be replayed never reaches the others."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._storage: JournalStorage | None = None

    def check(self, entry: Entry) -> None:
        """Replay one more entry.

        Raises:
            Exception: it is not an entry of the journal's one study.
        """
        if (entry["op_code"] == CREATE_STUDY) != (self._storage is None):
            raise ValueError("a journal begins with the creation of its one study")
        if entry.get("study_id", _ONLY_STUDY) != _ONLY_STUDY:
            raise ValueError("the entry is of another study")
        self._entries.append(dict(entry))
        self._storage = self._storage or JournalStorage(self)
        self._storage.get_study_name_from_id(_ONLY_STUDY)
        if "trial_id" in entry:
            self._storage.get_trial_number_from_id(entry["trial_id"])

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Return the entries that are not replayed yet, and forget them."""
        entries, self._entries = self._entries, []
        yield from entries
