"""Calls webhooks when a sweep's state changes, until the receiver accepts; signed.

Requests are signed as Standard Webhooks specifies (https://www.standardwebhooks.com): the signature
is the HMAC-SHA256 of ``id.timestamp.body``.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from service.base.errors import InputError
from service.base.redaction import redact
from service.client.sweep_events import event_to_json
from service.server.store.job_records import StoredEvent, Webhook
from service.server.store.webhook_store import WebhookStore
from service.sweep.lost_items import describe_error

TRIES = 12
"""Calls after which an event is given up, about an hour after the first one."""
_WAITING = frozenset({401, 403, 404, 407, 408, 409, 410, 421, 423, 425, 429})
"""Client errors that say nothing of the event: the receiver is not set up, or wants to wait."""
_TIMEOUT = 10.0
"""Seconds that one call may take, from the name's resolution to the head of the response."""
ROUND = 20.0
"""Seconds after which a round is over, although the receiver would take more."""
_HIDDEN = "***"
_MIN_SECRET_LENGTH = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Failure:
    """Why an event was not delivered; ``final`` if it would fail again."""

    reason: str
    final: bool


class WebhookSender:
    """Delivers every state change to every webhook, in order.

    ``send`` posts a body with headers to a URL and returns the response's status.
    """

    def __init__(
        self,
        webhooks: WebhookStore,
        secret: str,
        send: Callable[[str, bytes, Mapping[str, str]], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._webhooks, self._key = webhooks, decode_secret(secret)
        self._send, self._clock = send or _post, clock

    def deliver(self, url: str) -> None:
        """Deliver the new state changes to one webhook if it is due, for :data:`ROUND` at most.

        An event that a receiver refuses (most 4xx statuses) is skipped at once, because it would be
        refused again; one that cannot be sent is as well. Both are logged.
        """
        end = time.monotonic() + ROUND
        left = next((due for due in self._webhooks.due() if due.url == url), None)
        while left is not None and time.monotonic() < end:
            left = self._deliver_next(left)

    def _deliver_next(self, webhook: Webhook) -> Webhook | None:
        """Deliver one event; the webhook after it, None if there is no more to do now."""
        event = self._webhooks.next_change(webhook.event)
        if event is None:
            return None
        failure = self._call(webhook.url, event)
        if failure is not None:
            _log.warning("webhook %s: %s", hide_path(webhook.url), failure.reason)
            tries = TRIES if failure.final else webhook.tries + 1
            if tries < TRIES:  # the pause is stored: another process may continue
                self._webhooks.mark_failed(webhook.url, tries, 2.0**tries)
                return None
            _log.error("webhook %s: gave up event %s", hide_path(webhook.url), event.number)
        self._webhooks.mark_delivered(webhook.url, event.number)
        return Webhook(url=webhook.url, event=event.number, tries=0)

    def _call(self, url: str, event: StoredEvent) -> _Failure | None:
        """Send an event; what went wrong, None if the receiver accepted it."""
        try:
            body = _build_body(event)
        except Exception as error:  # whatever is wrong with it, the next event is to be sent
            return _Failure(f"event {event.number} cannot be sent: {describe_error(error)}", True)
        try:
            status = self._send(url, body, self._build_headers(event, body))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
            return _Failure(_describe(error, url), False)
        if 200 <= status < 300:
            return None
        return _Failure(f"HTTP status {status}", 400 <= status < 500 and status not in _WAITING)

    def _build_headers(self, event: StoredEvent, body: bytes) -> Mapping[str, str]:
        name, when = f"event_{event.number}", str(int(self._clock()))
        return {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": when,
            "webhook-signature": f"v1,{sign(self._key, name, when, body)}",
        }


def _build_body(stored: StoredEvent) -> bytes:
    change = json.loads(event_to_json(stored.event))
    return json.dumps(
        {
            "type": "sweep.state_changed",
            "timestamp": datetime.fromtimestamp(stored.time, UTC).isoformat(),
            "data": {
                "sweep_id": stored.sweep_id,
                **{name: change[name] for name in ("old", "new", "cause", "by")},
            },
        }
    ).encode()


def sign(key: bytes, name: str, when: str, body: bytes) -> str:
    """The signature that proves that a request comes from someone who has the key."""
    signed = f"{name}.{when}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def decode_secret(secret: str) -> bytes:
    """The key of a secret: ``whsec_`` and base64, or any text.

    Raises:
        InputError: the secret is too short or not valid base64.
    """
    if len(secret) < _MIN_SECRET_LENGTH:
        raise InputError(
            f"GAPSWEEP_WEBHOOK_SECRET must have at least {_MIN_SECRET_LENGTH} characters; webhooks "
            "are signed with it"
        )
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise InputError("GAPSWEEP_WEBHOOK_SECRET: the part after whsec_ must be base64") from None


def hide_path(url: str) -> str:
    """A URL without what may be secret: its path, query and credentials."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _HIDDEN
    host = parts.netloc.rpartition("@")[2]
    start = f"{parts.scheme}://{host}" if parts.scheme and host else ""
    return start if start and start == url.rstrip("/") else f"{start}/{_HIDDEN}"


def _describe(error: Exception, url: str) -> str:
    """An error without the secret part of the URL, which it may quote."""
    text = redact(f"{type(error).__name__}: {error}").replace(url, hide_path(url))
    rest = url.partition("://")[2].partition("/")[2]
    for secret in (rest, *rest.split("?")):
        text = text.replace(secret, _HIDDEN) if secret else text
    return text


def check_urls(urls: Sequence[str]) -> None:
    """Check that each is a valid HTTP URL.

    Raises:
        InputError: one is not.
    """
    for number, url in enumerate(urls, 1):
        if not _is_http_url(url):
            raise InputError(
                f"webhook {number}: invalid URL {hide_path(url)!r}; write it as https://host/path, "
                "in at most 512 characters"
            )


def gather_urls(given: Sequence[str], file: Path | None, environment: str) -> tuple[str, ...]:
    """The URLs of the command line, of a file with one a line, and of a variable, by spaces.

    Raises:
        InputError: the file cannot be read, or a URL of the command line has a path, which may be
            a secret: every account of the machine can read the arguments of a process.
    """
    for url in given:
        if _is_http_url(url) and hide_path(url) != url.rstrip("/"):
            raise InputError(
                f"--webhook {hide_path(url)}: the path of a webhook is often a secret, and every "
                "account of this machine can read the arguments of a process; write the URL into a "
                "file and give --webhook-file FILE, or set GAPSWEEP_WEBHOOKS"
            )
    try:
        lines = [] if file is None else file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--webhook-file: {file} cannot be read: {error}") from None
    written = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return (*given, *written, *environment.split())


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and len(url) <= 512


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The authorities that receivers are checked by, read once: it takes longer than a call."""
    return httpx2.create_ssl_context()


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    return asyncio.run(_post_in_time(url, body, headers))


async def _post_in_time(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the response; its body is not read.

    Raises:
        TimeoutError: the receiver took longer than :data:`_TIMEOUT` in all.
    """
    try:
        async with (
            asyncio.timeout(_TIMEOUT),
            httpx2.AsyncClient(timeout=_TIMEOUT, verify=_trusted()) as client,
            client.stream("POST", url, content=body, headers=dict(headers)) as response,
        ):
            return response.status_code
    except TimeoutError:
        raise TimeoutError(f"no response within {_TIMEOUT:.0f} s") from None
