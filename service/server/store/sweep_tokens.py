"""Tokens of running sweeps: one for each attempt, which says whose it is and is not stored.

A token is signed with a key of the store. To make it again gives the same token, so that a launch
that was interrupted can be repeated, also by another server.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from dataclasses import dataclass

from service.server.store.database import Database
from service.server.store.server_keys import find_key
from service.server.store.token_store import PREFIX

_FORM = re.compile(
    rf"{PREFIX}sweep_(?P<attempt>[1-9]\d{{0,8}})_[0-9a-f]{{64}}_(?P<sweep>.{{1,96}})"
)
_KEY = "sweep-tokens"


@dataclass(frozen=True)
class SweepScope:
    """What a sweep's token is for: one attempt of one sweep."""

    sweep_id: str
    attempt: int


class SweepTokens:
    """The tokens of one service's sweeps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, scope: SweepScope) -> str:
        """The token of an attempt."""
        text = f"{scope.attempt} {scope.sweep_id}".encode()
        signature = hmac.new(self._key, text, hashlib.sha256).hexdigest()
        return f"{PREFIX}sweep_{scope.attempt}_{signature}_{scope.sweep_id}"

    def read(self, token: str) -> SweepScope | None:
        """What a token is for; None if this service did not make it.

        The attempt may be over, which the sweep's state says.
        """
        found = _FORM.fullmatch(token)
        if found is None:
            return None
        scope = SweepScope(found["sweep"], int(found["attempt"]))
        return scope if hmac.compare_digest(self.make(scope).encode(), token.encode()) else None

    @functools.cached_property
    def _key(self) -> bytes:
        return find_key(self._database, _KEY)
