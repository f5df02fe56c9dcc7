"""Rate limits: requests and submissions per user, requests without a valid token per host."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.base.errors import InputError, RateLimitError


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """Rates such as ``600/minute``.

    A user's requests and submissions, a host's requests without a valid token, and the reports of a
    sweep, which sends two a second and more when it begins again.
    """

    requests: str = "1200/minute"
    submissions: str = "120/minute"
    failures: str = "60/minute"
    reports: str = "3000/minute"


class RateLimiter:
    """Counts the requests to one process.

    Raises:
        InputError: a rate is invalid.
    """

    def __init__(self, settings: RateSettings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._requests = _parse_rate(settings.requests)
        self._submissions = _parse_rate(settings.submissions)
        self._failures = _parse_rate(settings.failures)
        self._reports = _parse_rate(settings.reports)

    def count(self, user: str, *, submits: bool) -> None:
        """Count a request of a user.

        Raises:
            RateLimitError: it exceeds a limit.
        """
        self._hit(self._requests, "requests", user)
        if submits:
            self._hit(self._submissions, "submissions", user)

    def count_driver(self, sweep_id: str) -> None:
        """Count a request of a sweep's driver.

        Raises:
            RateLimitError: it exceeds the limit.
        """
        self._hit(self._reports, "reports", sweep_id)

    def count_failure(self, host: str) -> None:
        """Count a request without a valid token.

        Raises:
            RateLimitError: it exceeds the limit.
        """
        self._hit(self._failures, "requests without a valid token", host)

    def _hit(self, rate: RateLimitItem, what: str, who: str) -> None:
        if not self._limiter.hit(rate, what, who):
            left = self._limiter.get_window_stats(rate, what, who).reset_time - time.time()
            wait = max(1, math.ceil(left))
            raise RateLimitError(f"too many {what}: the limit is {rate}; retry in {wait} s", wait)


def _parse_rate(text: str) -> RateLimitItem:
    try:
        (rate,) = parse_many(text)
    except ValueError:
        raise InputError(f"invalid rate {text!r}; write it as 600/minute or 10/second") from None
    if rate.amount < 1:
        raise InputError(f"invalid rate {text!r}: it must allow at least 1 request")
    return rate
