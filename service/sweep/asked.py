"""Who has the trials of a sweep that are asked for by loops elsewhere, one small file each.

A claim that shows no sign of life for longer than its limit is over: its trial is handed out again.
The caller holds the sweep's lock, except to renew a claim.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from search_spaces.models import Frozen
from service.base.files import write_atomically
from service.sweep.home import SweepFolder


class Claim(Frozen):
    """A trial in somebody's hands, with Unix times: since when, and the last sign of life.

    ``limit`` is in seconds; ``token`` is known to the holder only.
    """

    token: str
    since: float
    seen: float
    limit: float
    holder: str = ""

    def holds(self, now: float) -> bool:
        """Whether its holder is taken to be alive."""
        return now < self.seen + self.limit


class Claims:
    """The claims of one sweep."""

    def __init__(self, folder: SweepFolder, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def find(self, number: int) -> Claim | None:
        """The claim on a trial, over or not; None if there is none that can be read."""
        try:
            raw = json.loads(self._folder.read(self._locate(number)))
            return Claim.model_validate(raw)
        except (FileNotFoundError, ValueError, ValidationError):
            return None

    def list_held(self) -> Mapping[int, Claim]:
        """The claims that are not over, by trial."""
        now = self._clock()
        found = {number: self.find(number) for number in self._list_numbers()}
        return {n: claim for n, claim in found.items() if claim is not None and claim.holds(now)}

    def make(self, number: int, limit: float) -> Claim:
        """Claim a trial."""
        now = self._clock()
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        claim = Claim(token=secrets.token_hex(8), since=now, seen=now, limit=limit, holder=holder)
        self._write(number, claim)
        return claim

    def renew(self, number: int, claim: Claim) -> Claim | None:
        """Give a sign of life; None if the claim is gone, or another one took its place."""
        found = self.find(number)
        if found is None or found.token != claim.token:
            return None
        renewed = claim.model_copy(update={"seen": self._clock()})
        self._write(number, renewed)
        return renewed

    def drop(self, number: int) -> None:
        """End a claim, if there is one."""
        self._locate(number).unlink(missing_ok=True)

    def _write(self, number: int, claim: Claim) -> None:
        write_atomically(self._locate(number), claim.model_dump_json() + "\n")

    def _locate(self, number: int) -> Path:
        return self._folder.asked / f"{number:05d}.json"

    def _list_numbers(self) -> list[int]:
        names = (path.stem for path in self._folder.asked.glob("*.json"))
        return sorted(int(name) for name in names if name.isdigit())


def is_asked(folder: SweepFolder) -> bool:
    """Whether the trials of a sweep are asked for by loops elsewhere."""
    return folder.asked.is_dir() and not folder.asked.is_symlink()
