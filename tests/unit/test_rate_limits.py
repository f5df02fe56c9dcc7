"""How often one may ask, by itself and through the API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.base.errors import InputError, RateLimitError
from service.server.api.app import create_app
from service.server.api.rate_limits import RateLimiter, RateSettings
from tests.worlds import SPEC, World, refused


class TestRateLimiter:
    """Counted by itself."""

    def test_so_many_are_let_through_and_the_next_is_told_when_to_come_again(self) -> None:
        rates = RateLimiter(RateSettings(requests="3/minute"))
        for _ in range(3):
            rates.count("ann", submits=False)
        with pytest.raises(
            RateLimitError, match=r"too many requests: the limit is 3 per 1 minute"
        ) as caught:
            rates.count("ann", submits=False)
        assert 1 <= caught.value.retry_after <= 60
        assert f"retry in {caught.value.retry_after} s" in str(caught.value)

    def test_users_and_hosts_are_counted_apart(self) -> None:
        rates = RateLimiter(RateSettings(requests="1/minute", failures="1/minute"))
        for user in ("ann", "bob"):
            rates.count(user, submits=False)
        for host in ("ann", "127.0.0.1"):  # a host may be called as a user is
            rates.count_failure(host)
        with pytest.raises(RateLimitError, match="requests:"):
            rates.count("ann", submits=False)
        with pytest.raises(RateLimitError, match="requests without a valid token:"):
            rates.count_failure("127.0.0.1")

    def test_submissions_count_as_both(self) -> None:
        rates = RateLimiter(RateSettings(requests="4/minute", submissions="2/minute"))
        for _ in range(2):
            rates.count("ann", submits=True)
        with pytest.raises(
            RateLimitError, match="too many submissions: the limit is 2 per 1 minute"
        ):
            rates.count("ann", submits=True)
        rates.count("ann", submits=False)
        with pytest.raises(RateLimitError, match="too many requests: the limit is 4 per 1 minute"):
            rates.count("ann", submits=False)

    def test_it_is_over_when_the_time_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rates = RateLimiter(RateSettings(requests="1/second"))
        rates.count("ann", submits=False)
        with pytest.raises(RateLimitError) as caught:
            rates.count("ann", submits=False)
        assert caught.value.retry_after == 1
        later = time.time() + 1.5
        monkeypatch.setattr("time.time", lambda: later)
        rates.count("ann", submits=False)

    @pytest.mark.parametrize("which", ["requests", "submissions", "failures"])
    @pytest.mark.parametrize(
        "rate", ["", "many", "600", "/minute", "-5/minute", "1.5/minute", "5/fortnight"]
    )
    def test_a_rate_that_is_none_is_refused_with_what_would_be(self, which: str, rate: str) -> None:
        with pytest.raises(InputError, match=r"invalid rate .*; write it as 600/minute") as caught:
            RateLimiter(RateSettings(**{which: rate}))
        assert repr(rate) in str(caught.value)

    @pytest.mark.parametrize("rate", ["10/second;600/minute", "10/second, 600/minute"])
    def test_several_rates_are_refused_where_one_is_taken(self, rate: str) -> None:
        with pytest.raises(InputError, match=r"invalid rate"):
            RateLimiter(RateSettings(requests=rate))

    @pytest.mark.parametrize("rate", ["3/minute", "3 per second", "3/2hours", "3/1day"])
    def test_rates_are_taken_and_kept(self, rate: str) -> None:
        rates = RateLimiter(RateSettings(requests=rate))
        for _ in range(3):
            rates.count("ann", submits=False)
        with pytest.raises(RateLimitError, match="too many requests: the limit is 3 per"):
            rates.count("ann", submits=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.close()


def limit(world: World, **rates: str) -> None:
    app = create_app(world.service, rates=RateSettings(**rates))
    world.http = TestClient(app, raise_server_exceptions=False)


def too_many(answer: Response, most: int = 60) -> dict[str, Any]:
    """A problem document that says when to come again."""
    body = refused(answer, 429)
    assert body["title"] == "Too Many Requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= most
    return body


class TestThroughTheApi:
    """What a client sees of it."""

    def test_who_asks_too_often_is_told_to_wait_and_others_are_not(self, world: World) -> None:
        limit(world, requests="3/minute")
        for _ in range(3):
            assert world.call("GET", "/v1/sweeps").status_code == 200
        body = too_many(world.call("GET", "/v1/sweeps"))
        assert body["detail"].startswith("too many requests: the limit is 3 per 1 minute")
        assert world.call("GET", "/v1/sweeps", "bob").status_code == 200

    def test_what_is_refused_counts_too(self, world: World) -> None:
        limit(world, requests="2/minute")
        refused(world.call("GET", "/v1/sweeps/nothing"), 404)
        refused(world.call("POST", "/v1/sweeps", json={}), 422)
        too_many(world.call("GET", "/v1/sweeps"))

    def test_requests_without_a_token_count_as_those_with_an_invalid_one(
        self, world: World
    ) -> None:
        limit(world, failures="2/minute")
        refused(world.call("GET", "/v1/sweeps", None), 401)
        refused(world.call("POST", "/v1/bundles", None, content=b"x"), 401)
        body = too_many(world.call("GET", "/v1/me", None))
        assert body["detail"].startswith("too many requests without a valid token: the limit is 2")
        assert world.call("GET", "/v1/sweeps").status_code == 200

    def test_submissions_are_limited_apart_from_requests(self, world: World) -> None:
        limit(world, submissions="2/hour")
        sweep_id = world.submit()
        refused(world.call("POST", "/v1/bundles", content=b"no zip"), 422)
        body = too_many(world.call("POST", "/v1/sweeps", json=SPEC), 3600)
        assert body["detail"].startswith("too many submissions: the limit is 2 per 1 hour")
        too_many(world.call("POST", "/v1/bundles", content=b"no zip"), 3600)
        for _ in range(5):
            assert world.call("GET", "/v1/sweeps").status_code == 200
        too_many(world.call("POST", "/v1/validate", json=SPEC), 3600)
        assert world.act(sweep_id, "cancel").status_code == 200
        assert world.submit("bob")

    def test_a_viewers_validations_are_limited_as_submissions(self, world: World) -> None:
        limit(world, submissions="2/hour")
        for _ in range(2):
            assert world.call("POST", "/v1/validate", "vic", json=SPEC).status_code == 200
        too_many(world.call("POST", "/v1/validate", "vic", json=SPEC), 3600)
        assert world.call("GET", "/v1/sweeps", "vic").status_code == 200

    def test_a_strangers_wrong_tokens_are_limited_and_do_not_block_a_user(
        self, world: World
    ) -> None:
        limit(world, failures="3/minute")
        wrong = {"Authorization": "Bearer gs_nobody"}
        for _ in range(3):
            refused(world.call("GET", "/v1/sweeps", None, headers=wrong), 401)
        for _ in range(3):
            body = too_many(world.call("GET", "/v1/sweeps", None, headers=wrong))
            assert "requests without a valid token" in body["detail"]
            assert world.call("GET", "/v1/sweeps").status_code == 200

    def test_health_is_not_limited(self, world: World) -> None:
        limit(world, requests="1/hour", failures="1/hour")
        for _ in range(5):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert world.call("GET", path, None).status_code == 200

    def test_many_at_once_are_not_more_than_may_be(self, world: World) -> None:
        limit(world, requests="5/minute")
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: world.call("GET", "/v1/sweeps"), range(12)))
        assert sorted(a.status_code for a in answers) == [200] * 5 + [429] * 7
