"""Tokens by which the service itself asks MLflow to remove the runs of deleted sweeps.

A token is signed, is not stored and is worth nothing after some minutes. The API does nothing for
it but say that it is the service's.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
from collections.abc import Callable

from service.server.store.database import Database
from service.server.store.server_keys import find_key
from service.server.store.token_store import PREFIX

LIFETIME = 600
"""Seconds for which a token is valid."""
_FORM = re.compile(rf"{PREFIX}service_(?P<until>\d{{1,12}})_[0-9a-f]{{64}}")
_KEY = "service-tokens"


class ServiceTokens:
    """The tokens of one service's own."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def make(self) -> str:
        """A new token."""
        return self._sign(int(self._clock()) + LIFETIME)

    def is_valid(self, token: str) -> bool:
        """Whether this service made the token a short time ago."""
        found = _FORM.fullmatch(token)
        if found is None or not self._clock() < int(found["until"]):
            return False
        return hmac.compare_digest(self._sign(int(found["until"])).encode(), token.encode())

    @functools.cached_property
    def _key(self) -> bytes:
        return find_key(self._database, _KEY)

    def _sign(self, until: int) -> str:
        signature = hmac.new(self._key, str(until).encode(), hashlib.sha256).hexdigest()
        return f"{PREFIX}service_{until}_{signature}"
