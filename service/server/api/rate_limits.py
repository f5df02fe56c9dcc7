"""How often one may ask: so many requests a user, and less for what makes something new."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.base.errors import InputError, TooManyError


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """Rates such as ``600/minute``: of a user's requests, submissions, and of wrong tokens."""

    requests: str = "1200/minute"
    submissions: str = "120/minute"
    strangers: str = "60/minute"


class Rates:
    """Counts requests of one process.

    Raises:
        InputError: a rate is none.
    """

    def __init__(self, settings: RateSettings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._requests = _rate(settings.requests)
        self._submissions = _rate(settings.submissions)
        self._strangers = _rate(settings.strangers)

    def count(self, user: str, *, submits: bool) -> None:
        """One more request of a user.

        Raises:
            TooManyError: it is one too many.
        """
        self._hit(self._requests, "requests", user)
        if submits:
            self._hit(self._submissions, "submissions", user)

    def count_stranger(self, host: str) -> None:
        """One more request with a token that nobody has.

        Raises:
            TooManyError: it is one too many.
        """
        self._hit(self._strangers, "requests with a wrong token", host)

    def _hit(self, rate: RateLimitItem, what: str, who: str) -> None:
        if not self._limiter.hit(rate, what, who):
            left = self._limiter.get_window_stats(rate, what, who).reset_time - time.time()
            wait = max(1, math.ceil(left))
            raise TooManyError(f"too many {what}: {rate} may be made; wait {wait} s", wait)


def _rate(text: str) -> RateLimitItem:
    try:
        (rate,) = parse_many(text)
    except ValueError:
        raise InputError(f"{text!r} is no rate; write it as 600/minute or 10/second") from None
    if rate.amount < 1:
        raise InputError(f"{text!r} is no rate: nobody could ask for anything")
    return rate
