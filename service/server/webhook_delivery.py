"""Calls out when a sweep's state changes, signed as Standard Webhooks has it, until it was heard.

https://www.standardwebhooks.com: the signature is the HMAC-SHA256 of ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx2

from service.base.errors import InputError
from service.base.redaction import redacted
from service.server.store.job_records import Event, Hook
from service.server.store.webhooks import Webhooks

TRIES = 12
"""Then an event is given up, about an hour after the first call."""
_TIMEOUT = 10.0
_SHORTEST_SECRET = 16
_log = logging.getLogger(__name__)


class Caller:
    """Calls every address with every change, each in order.

    ``send`` gives a request's URL, body and headers away and returns the answer's status.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        secret: str,
        send: Callable[[str, bytes, Mapping[str, str]], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._webhooks, self._key = webhooks, key_of(secret)
        self._send, self._clock = send or _post, clock

    def round(self) -> None:
        """Tell everyone who is due what they have not heard."""
        for hook in self._webhooks.due():
            while self._tell(hook):
                hook = Hook(url=hook.url, event=self._last, tries=0)

    def _tell(self, hook: Hook) -> bool:
        """Whether an address took the next change; False too where there is none."""
        event = self._webhooks.next_change(hook.event)
        if event is None:
            return False
        self._last = event.number
        body = json.dumps(
            {
                "type": "sweep.state_changed",
                "timestamp": datetime.fromtimestamp(event.time, UTC).isoformat(),
                "data": {"sweep_id": event.sweep_id, **event.data},
            }
        ).encode()
        why = self._try(hook.url, event, body)
        if why is None:
            self._webhooks.heard(hook.url, event.number)
            return True
        _log.warning("webhook %s: %s", redacted(hook.url), why)
        if hook.tries + 1 >= TRIES:
            _log.error("webhook %s never took event %s", redacted(hook.url), event.number)
            self._webhooks.heard(hook.url, event.number)
            return True
        self._webhooks.missed(hook.url, hook.tries + 1, 2.0 ** (hook.tries + 1))
        return False

    def _try(self, url: str, event: Event, body: bytes) -> str | None:
        """Why it was not taken, if it was not."""
        try:
            status = self._send(url, body, self._headers(event, body))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            return redacted(f"{type(error).__name__}: {error}")
        return None if 200 <= status < 300 else f"it answered {status}"

    def _headers(self, event: Event, body: bytes) -> Mapping[str, str]:
        name, when = f"event_{event.number}", str(int(self._clock()))
        return {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": when,
            "webhook-signature": f"v1,{signature(self._key, name, when, body)}",
        }


def signature(key: bytes, name: str, when: str, body: bytes) -> str:
    """What proves that a call comes from who knows the key."""
    signed = f"{name}.{when}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: ``whsec_`` and base64, or any words.

    Raises:
        InputError: it is too short to be one.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise InputError(
            f"GAPSWEEP_WEBHOOK_SECRET needs {_SHORTEST_SECRET} characters at least; webhooks are "
            "signed with it"
        )
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise InputError("GAPSWEEP_WEBHOOK_SECRET: after whsec_ comes base64") from None


def check_urls(urls: Sequence[str]) -> None:
    """See that each is an address that can be called.

    Raises:
        InputError: one is not.
    """
    for url in urls:
        if not _can_be_called(url):
            raise InputError(f"--webhook {url!r}: write it as https://host/path")


def _can_be_called(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and len(url) <= 512


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    with httpx2.stream("POST", url, content=body, headers=dict(headers), timeout=_TIMEOUT) as said:
        return said.status_code  # what else it says is not read
