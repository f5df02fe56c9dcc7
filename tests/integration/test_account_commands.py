"""The commands for users, tokens and the audit log, in this process, on a real store."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.base.accounts import get_account_name
from service.base.errors import GapsweepError
from service.cli import app
from service.client import client as client_module
from service.server.store.job_records import DriverReport
from service.sweep.cost import Cost
from tests.worlds import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    monkeypatch.setattr(client_module.httpx2, "Client", lambda **_: made.http)
    monkeypatch.setenv("GAPSWEEP_SERVER", "http://testserver")
    monkeypatch.setenv("COLUMNS", "80")
    yield made
    made.close()


def run(world: World, *words: str, by: str = "root") -> str:
    """What a command prints on standard output."""
    done = CliRunner(env={"GAPSWEEP_TOKEN": world.tokens[by]}).invoke(app, words)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def refuse(world: World, *words: str, by: str = "root") -> str:
    """The error of a command that is refused."""
    with pytest.raises(GapsweepError) as caught:
        run(world, *words, by=by)
    assert caught.value.exit_code == 2
    return str(caught.value)


def on_server(world: World, *words: str) -> str:
    return run(world, "users", *words, "--home", str(world.service.settings.home))


def test_tokens_are_added_listed_and_revoked(world: World) -> None:
    token = run(world, "tokens", "add", "laptop", "--scope", "read", by="ann").split()[0]
    assert token.startswith("gs_")
    world.tokens["laptop"] = token
    run(world, "list", by="laptop")
    listed = run(world, "tokens", "list", by="ann")
    row = next(line for line in listed.splitlines() if line.startswith("laptop"))
    assert "read" in row
    assert time.strftime("%Y-%m-%d", time.localtime(time.time() + 90 * 86_400)) in row
    assert "testclient" in row
    assert token not in listed
    assert run(world, "tokens", "revoke", "laptop", by="ann") == "revoked laptop\n"
    assert refuse(world, "list", by="laptop") == "invalid token: it was revoked"
    never = json.loads(run(world, "tokens", "add", "x", "--no-expiry", "--json", by="ann"))
    assert never["expires"] is None


def test_wrong_tokens_are_refused_before_the_server_is_asked(world: World) -> None:
    assert "contradict" in refuse(world, "tokens", "add", "x", "--days", "3", "--no-expiry")
    assert "at most 3650 days" in refuse(world, "tokens", "add", "x", "--days", "nan")
    assert "invalid token name 'a b'" in refuse(world, "tokens", "add", "a b")


def test_a_token_that_expires_soon_is_told_of_on_standard_error(world: World) -> None:
    for name, days in (("soon", 6.5), ("later", 8)):
        world.tokens[name], _ = world.service.tokens.add(
            "ann", name, expires=time.time() + 86_400 * days
        )
        done = CliRunner(env={"GAPSWEEP_TOKEN": world.tokens[name]}).invoke(app, ["list"])
        told = "in 7 days; make another: gapsweep tokens add NAME" in done.stderr
        assert told is (name == "soon")
        assert "expires" not in done.stdout


def test_the_audit_log_fits_the_terminal_and_has_what_the_command_line_did(world: World) -> None:
    sweep_id = world.submit()
    on_server(world, "add", "eve", "--role", "viewer", "--token-name", "first")
    on_server(world, "revoke", "eve", "--token-name", "first")
    on_server(world, "revoke", "eve")
    shown = run(world, "audit-log", "--limit", "100")
    assert all(len(line) <= 80 for line in shown.splitlines())
    done = ("user.add", "token.revoke", "user.revoke")
    words = [w for action in done for w in ("--action", action)]
    found = json.loads(run(world, "audit-log", "--json", *words))
    assert [e["action"] for e in found] == list(done[::-1])
    assert {(e["user"], e["address"]) for e in found} == {(get_account_name(), "command line")}
    assert found[-1]["detail"] == "eve, role viewer, with token first"
    (submitted,) = json.loads(run(world, "audit-log", "--json", "--sweep", sweep_id))
    assert submitted["action"] == "sweep.submit"
    assert run(world, "audit-log", "--until", "2020-01-01") == "no entries\n"
    assert sweep_id[:10] in run(world, "audit-log", "--since", "7d", "--user", "ann")
    assert "--since: invalid time 'yore'" in refuse(world, "audit-log", "--since", "yore")
    assert "vic is a viewer" in refuse(world, "audit-log", by="vic")


def test_a_list_of_users_and_a_status_have_hours_of_search_and_confirmation(world: World) -> None:
    sweep_id = world.submit()
    world.launch(sweep_id)
    cost = Cost(search_cpu_seconds=5400, confirmation_cpu_seconds=900, search_gpu_seconds=1800)
    world.service.progress.record(sweep_id, 1, DriverReport(cost=cost))
    row = next(line for line in on_server(world, "list").splitlines() if line.startswith("ann"))
    assert "1.500 + 0.2500" in row
    assert "0.5000 + 0.000" in row
    line = "CPU-hours: 1.500 of the search, 0.2500 of the confirmation"
    assert line in run(world, "users", "show", by="ann")
    shown = run(world, "status", sweep_id, by="vic")
    assert re.search(r"CPU-hours +1.500 of the search, 0.2500 of the confirmation", shown)
    assert re.search(r"GPU-hours +0.5000 of the search, 0.000 of the confirmation", shown)


def test_users_get_tokens_that_expire_unless_asked_otherwise(world: World) -> None:
    on_server(world, "add", "eve", "--role", "user")
    on_server(world, "add", "eve", "--role", "user", "--no-expiry")
    on_server(world, "add", "eve", "--role", "user", "--token-name", "ci", "--days", "1")
    found = {t.name: t.expires for t in world.service.tokens.of_user("eve")}
    assert found["default"] == pytest.approx(time.time() + 90 * 86_400, abs=60)
    assert found["default-2"] is None
    assert found["ci"] == pytest.approx(time.time() + 86_400, abs=60)
    listed = on_server(world, "tokens", "eve")
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["default", "default-2", "ci"]
