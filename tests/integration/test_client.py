"""The client against the real API: the same calls, blocking and async; its errors are ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from service.base.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    SpecError,
    UnauthorizedError,
)
from service.client import endpoints
from service.client.client import PATIENCE, AsyncClient, Client
from service.client.job_states import JobState
from service.server.api import responses
from service.server.store.job_records import DriverReport, Job, SweepWithHistory
from service.study.events import TrialStarted
from service.study.records import Role, Trial, TrialState
from service.sweep.cost import Cost
from tests.worlds import SPEC, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def of(world: World, user: str = "ann") -> Client:
    return Client("http://testserver", world.tokens[user], world.http)


def test_every_call_gives_a_typed_answer(world: World) -> None:
    client = of(world)
    assert client.do(endpoints.validate(SPEC)).spec["name"] == "digits-mlp"
    first = client.do(endpoints.submit(SPEC, priority=2, idempotency_key="k"))
    assert client.do(endpoints.submit(SPEC, priority=2, idempotency_key="k")) == first
    second = client.do(
        endpoints.submit(
            b"{name: x, trainable: 'trainables.models:MLP', "
            b"data: {name: digits}, space: {preset: regularisation}}",
            after=[first.sweep_id],
        )
    )
    assert second.after == (first.sweep_id,)
    page = client.do(endpoints.sweeps(owner="ann", states=[JobState.QUEUED], limit=1))
    assert [s.sweep_id for s in page.items] == [second.sweep_id]
    rest = client.do(endpoints.sweeps(limit=1, cursor=page.cursor))
    assert [s.sweep_id for s in rest.items] == [first.sweep_id]
    assert client.do(endpoints.sweep(first.sweep_id)).history[0].by == "ann"
    assert client.do(endpoints.trials(first.sweep_id)) == []
    assert client.do(endpoints.pause(first.sweep_id)).state is JobState.PAUSED
    assert client.do(endpoints.resume(first.sweep_id)).state is JobState.QUEUED
    assert client.do(endpoints.cancel(first.sweep_id)).state is JobState.CANCELLED
    assert client.do(endpoints.retry(first.sweep_id)).state is JobState.QUEUED
    world.brought_to(first.sweep_id, JobState.STARTING, JobState.SUCCEEDED)
    assert client.do(endpoints.extend(first.sweep_id, 5)).state is JobState.QUEUED
    assert client.do(endpoints.pause(first.sweep_id)).state is JobState.PAUSED
    widen = ["dropout=0:0.75", "dropout=0:0.9"]
    assert client.do(endpoints.resume(first.sweep_id, widen=widen)).state is JobState.QUEUED
    assert world.service.sweeps.get(first.sweep_id).wider == {"dropout": [0.0, 0.9]}
    world.brought_to(first.sweep_id, JobState.STARTING, JobState.SUCCEEDED)
    client.do(endpoints.extend(first.sweep_id, 5, widen=["dropout=0:0.95"]))
    assert world.service.sweeps.get(first.sweep_id).wider == {"dropout": [0.0, 0.95]}


def test_changes_are_accepted_until_the_next_action(world: World) -> None:
    client = of(world)
    sweep_id = client.do(endpoints.submit(SPEC)).sweep_id

    def accepts() -> bool:
        return world.service.sweeps.get(sweep_id).accept_changes

    client.do(endpoints.pause(sweep_id))
    client.do(endpoints.resume(sweep_id, accept_changes=True))
    assert accepts()
    client.do(endpoints.cancel(sweep_id))
    client.do(endpoints.retry(sweep_id))
    assert not accepts()
    world.brought_to(sweep_id, JobState.STARTING, JobState.FAILED)
    assert client.do(endpoints.retry(sweep_id, accept_changes=True)).cause == (
        "retried, changes accepted"
    )
    assert accepts()
    world.brought_to(sweep_id, JobState.STARTING, JobState.SUCCEEDED)
    client.do(endpoints.extend(sweep_id, 5))
    assert not accepts()
    world.brought_to(sweep_id, JobState.STARTING, JobState.SUCCEEDED)
    client.do(endpoints.extend(sweep_id, 5, accept_changes=True))
    assert accepts()


def test_errors_are_those_of_the_service(world: World) -> None:
    client = of(world)
    sweep_id = client.do(endpoints.submit(SPEC)).sweep_id
    with pytest.raises(SpecError, match="did you mean 'digits'"):
        client.do(endpoints.submit({**SPEC, "data": {"name": "digit"}}))
    with pytest.raises(NotFoundError, match="'nothing'"):
        client.do(endpoints.sweep("nothing"))
    with pytest.raises(NotFoundError, match="no trial 7"):
        client.do(endpoints.trial(sweep_id, 7))
    with pytest.raises(ConflictError, match="is queued"):
        client.do(endpoints.resume(sweep_id))
    with pytest.raises(ForbiddenError, match="belongs to ann"):
        of(world, "bob").do(endpoints.cancel(sweep_id))
    with pytest.raises(UnauthorizedError, match="invalid token"):
        Client("http://testserver", "gs_nobody", world.http).do(endpoints.sweeps())


def test_a_server_that_is_not_there_or_is_none_of_ours_is_said() -> None:
    with pytest.raises(ServerError, match=r"http://127.0.0.1:9 cannot be reached"):
        Client("http://127.0.0.1:9", "t").do(endpoints.sweeps())
    odd = httpx2.MockTransport(lambda _: httpx2.Response(502, text="<html>bad gateway"))
    http = httpx2.Client(transport=odd, base_url="http://proxy")
    with pytest.raises(ServerError, match=r"unexpected response \(HTTP 502\)"):
        Client("http://proxy", "t", http).do(endpoints.sweeps())


def test_events_come_to_the_end_and_from_where_one_left(world: World) -> None:
    client = of(world)
    sweep_id = client.do(endpoints.submit(SPEC)).sweep_id
    world.launch(sweep_id)
    trials = [
        Trial(number=n, state=TrialState.RUNNING, role=Role.SEARCH, params={"dropout": 0.5})
        for n in (0, 1)
    ]
    started = [TrialStarted(trial=trial) for trial in trials]
    world.service.progress.record(sweep_id, 1, DriverReport(events=started))
    world.brought_to(sweep_id, JobState.CANCELLED)
    whole = list(client.events(sweep_id))
    kinds = [*["state_changed"] * 3, *["trial_started"] * 2, "state_changed"]
    assert [e.kind for _, e in whole] == kinds
    assert [e for _, e in whole[3:5]] == started
    assert list(client.events(sweep_id, after=whole[1][0])) == whole[2:]
    with pytest.raises(NotFoundError):
        list(client.events("nothing"))


def told(number: int) -> bytes:
    """An event as it stands in a stream."""
    epoch = {"trial": 0, "epoch": number, "time": 1.0, "metrics": {}}
    data = {"kind": "epoch_ended", "epoch": epoch}
    return f"event: epoch_ended\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()


class Breaking:
    """A server that ends its stream after every event, by an error until the third.

    The sweep is over when the fourth was told.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def blocking(self, request: httpx2.Request) -> httpx2.Response:
        if "Last-Event-ID" not in request.headers:
            return self._standing()
        return httpx2.Response(200, content=self._stream(request))

    async def not_blocking(self, request: httpx2.Request) -> httpx2.Response:
        if "Last-Event-ID" not in request.headers:
            return self._standing()

        async def body() -> AsyncIterator[bytes]:
            for chunk in self._stream(request):
                yield chunk

        return httpx2.Response(200, content=body())

    def _standing(self) -> httpx2.Response:
        return httpx2.Response(200, content=details(over=self.asked[-1] == "3"))

    def _stream(self, request: httpx2.Request) -> Iterator[bytes]:
        self.asked.append(request.headers["Last-Event-ID"])
        last = int(self.asked[-1])
        yield told(last + 1)
        if last < 2:
            raise httpx2.ReadError("the connection broke")


def details(*, over: bool) -> bytes:
    """What is known of a sweep."""
    state = JobState.SUCCEEDED if over else JobState.RUNNING
    job = Job(
        sweep_id="digits-1",
        name="digits",
        owner="ann",
        state=state,
        created=1.0,
        changed=1.0,
        spec="name: digits",
    )
    return (
        responses.sweep_details(SweepWithHistory(job=job, history=(), last_event=0), Cost())
        .model_dump_json()
        .encode()
    )


def test_a_stream_is_taken_up_where_it_ended_until_its_sweep_has() -> None:
    server = Breaking()
    http = httpx2.Client(transport=httpx2.MockTransport(server.blocking), base_url="http://here")
    found = [number for number, _ in Client("http://here", "t", http).events("digits-1")]
    assert found == [1, 2, 3, 4]
    assert server.asked == ["0", "1", "2", "3"]


def test_the_async_client_takes_a_stream_up_as_well() -> None:
    server = Breaking()

    async def use() -> list[int]:
        transport = httpx2.MockTransport(server.not_blocking)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as http:
            client = AsyncClient("http://here", "t", http)
            return [number async for number, _ in client.events("digits-1")]

    assert asyncio.run(use()) == [1, 2, 3, 4]
    assert server.asked == ["0", "1", "2", "3"]


def test_the_async_client_makes_the_same_calls(world: World) -> None:
    async def use() -> tuple[str, list[str]]:
        transport = httpx2.ASGITransport(app=world.http.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
            client = AsyncClient("http://testserver", world.tokens["ann"], http)
            made = await client.do(endpoints.submit(SPEC))
            await client.do(endpoints.cancel(made.sweep_id))
            kinds = [event.kind async for _, event in client.events(made.sweep_id)]
            with pytest.raises(NotFoundError):
                await client.do(endpoints.sweep("nothing"))
            return made.owner, kinds

    assert asyncio.run(use()) == ("ann", ["state_changed", "state_changed"])


def test_a_spec_for_another_version_is_said_to_be_for_it() -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        problems = [{"path": "budget.energy", "message": "unknown key"}]
        body = {
            "type": "urn:problem-type:gapsweep:invalid-spec",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "the spec: 1 problem",
            "problems": problems,
        }
        return httpx2.Response(422, json=body, headers={"Gapsweep-Version": "0.0.7"})

    http = httpx2.Client(transport=httpx2.MockTransport(refuse), base_url="http://here")
    with pytest.raises(SpecError) as caught:
        Client("http://here", "t", http).do(endpoints.submit(SPEC))
    assert "for the server's gapsweep 0.0.7 (this is" in str(caught.value)
    assert "budget.energy: unknown key" in str(caught.value)


def test_a_call_that_may_be_repeated_is_made_again_where_the_connection_broke() -> None:
    asked: list[str] = []

    def break_once(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        if len(asked) == 1:
            raise httpx2.ReadError("the connection broke")
        return httpx2.Response(200, json={"items": [], "cursor": None})

    http = httpx2.Client(transport=httpx2.MockTransport(break_once), base_url="http://here")
    client = Client("http://here", "t", http)
    assert client.do(endpoints.sweeps()).items == ()
    assert asked == ["GET", "GET"]
    asked.clear()
    with pytest.raises(ServerError):
        client.do(endpoints.cancel("digits-1"))
    assert asked == ["POST"]


def test_patience_counts_from_when_the_server_is_missed_not_from_the_last_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("service.client.client.time.monotonic", lambda: now[0])
    monkeypatch.setattr("service.client.client.time.sleep", lambda _: None)
    asked: list[str] = []

    def quiet(request: httpx2.Request) -> httpx2.Response:
        if "Last-Event-ID" not in request.headers:
            return httpx2.Response(200, content=details(over=True))
        asked.append(request.headers["Last-Event-ID"])

        def body() -> Iterator[bytes]:
            if len(asked) == 3:
                yield told(7)
                return
            now[0] += 10 * PATIENCE  # nothing happens for long
            raise httpx2.ReadError("the connection broke")

        return httpx2.Response(200, content=body())

    http = httpx2.Client(transport=httpx2.MockTransport(quiet), base_url="http://here")
    assert [n for n, _ in Client("http://here", "t", http).events("digits-1")] == [7]
    assert len(asked) == 3


def test_a_server_that_stays_away_is_given_up_after_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, pauses = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("service.client.client.time.monotonic", lambda: now[0])
    monkeypatch.setattr("service.client.client.time.sleep", sleep)

    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    http = httpx2.Client(transport=httpx2.MockTransport(refuse), base_url="http://here")
    with pytest.raises(ServerError, match=r"http://here cannot be reached \(refused\)"):
        list(Client("http://here", "t", http).events("digits-1"))
    assert PATIENCE <= now[0] <= PATIENCE + max(pauses)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.2, 5.0)


def test_an_error_that_is_not_the_servers_ends_a_stream_at_once() -> None:
    asked: list[str] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        body = {"type": "about:blank", "title": "t", "status": 403, "detail": "no"}
        return httpx2.Response(403, json=body)

    http = httpx2.Client(transport=httpx2.MockTransport(refuse), base_url="http://here")
    with pytest.raises(ForbiddenError):
        list(Client("http://here", "t", http).events("digits-1"))
    assert asked == ["GET"]
