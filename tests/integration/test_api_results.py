"""What a sweep left through the API; users' own code, the cluster, the metrics, what is allowed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fastapi.testclient import TestClient
from httpx2 import Response
from prometheus_client.parser import text_string_to_metric_families

from search_spaces.kinds import Float
from service.base.amount import Amount
from service.base.errors import ClusterUnavailableError
from service.base.versions import get_installed_version
from service.client.job_states import JobState
from service.cluster.jobs import ClusterNode
from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.bundle_unpacking import BundleLimits
from service.server.store.database import Database
from service.server.store.job_records import DriverReport
from service.server.sweep_service import SweepService
from service.spec.file import parse_spec
from service.study.events import TrialStarted
from service.study.records import Role, Trial, TrialState
from service.study.study import open_study
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from tests.archives import archive
from tests.commands import Ran
from tests.worlds import SPEC, World, refused

HOLDS_A_JOB = (JobState.STARTING, JobState.RUNNING)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def folder_of(world: World, sweep_id: str) -> SweepFolder:
    """Its folder in the service's home, made."""
    folder = Home(world.service.settings.home).sweep(sweep_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def brought_in(world: World, ran: Ran, state: JobState = JobState.SUCCEEDED) -> str:
    """A sweep as if the service had run it: its folder, and what its driver told the store."""
    spec = yaml.safe_load((ran.folder / "spec.yaml").read_text(encoding="utf-8"))
    done = world.call("POST", "/v1/sweeps", json=spec)
    assert done.status_code == 201, done.text
    sweep_id = str(done.json()["sweep_id"])
    shutil.copytree(ran.folder, folder_of(world, sweep_id).path, dirs_exist_ok=True)
    _, _, found = read_sweep(SweepFolder(ran.folder))
    world.launch(sweep_id)
    world.service.progress.record(sweep_id, 1, DriverReport(trials=found.trials))
    if state is not JobState.RUNNING:
        world.brought_to(sweep_id, state)
    return sweep_id


class TestResults:
    """Of a sweep that has some."""

    def test_the_best_trial_comes_with_its_baseline(self, world: World, ran: Ran) -> None:
        sweep_id = brought_in(world, ran)
        found = world.call("GET", f"/v1/sweeps/{sweep_id}/best", "vic").json()
        for role in ("best", "baseline"):
            expected = ran.summary[role]
            assert found[role]["number"] == expected["number"]
            assert found[role]["params"] == expected["params"]
            assert found[role]["best"] == expected["metrics"]
        assert found["baseline"]["role"] == "baseline"

    def test_the_report_comes_as_a_page_a_summary_and_a_text(self, world: World, ran: Ran) -> None:
        sweep_id = brought_in(world, ran)
        path = f"/v1/sweeps/{sweep_id}/report"
        page = world.call("GET", path, "vic")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.text == (ran.folder / "report.html").read_text(encoding="utf-8")
        assert world.call("GET", path, params={"format": "html"}).text == page.text
        summary = world.call("GET", path, params={"format": "json"})
        assert summary.headers["content-type"] == "application/json"
        assert summary.json() == ran.summary
        text = world.call("GET", path, params={"format": "text"})
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        wide = [line for line in text.text.splitlines() if len(line) > 80]
        assert all(line.startswith("gapsweep ") for line in wide)  # a command, to be copied
        assert "\x1b" not in text.text
        for words in ("baseline", "best", "gap"):
            assert words in text.text
        refused(world.call("GET", path, params={"format": "pdf"}), 422)

    def test_the_report_of_a_sweep_that_runs_is_as_it_stands(self, world: World, ran: Ran) -> None:
        sweep_id = brought_in(world, ran, JobState.RUNNING)
        folder = folder_of(world, sweep_id)
        folder.report.write_text("of the last attempt", encoding="utf-8")
        stale = {**ran.summary, "trials": dict.fromkeys(ran.summary["trials"], 0)}
        folder.summary.write_text(json.dumps(stale), encoding="utf-8")
        path = f"/v1/sweeps/{sweep_id}/report"
        page = world.call("GET", path)
        assert page.text.startswith("<!doctype html>")
        assert "of the last attempt" not in page.text
        summary = world.call("GET", path, params={"format": "json"}).json()
        assert (summary["sweep_id"], summary["state"]) == (sweep_id, "running")
        assert summary["trials"] == ran.summary["trials"]
        for role in ("best", "baseline"):
            assert summary[role]["number"] == ran.summary[role]["number"]
            weights = folder.best_weights(summary[role]["number"])
            assert summary[role]["checkpoint"] == str(
                weights.relative_to(world.service.settings.home)
            )
        assert world.call("GET", path, params={"format": "text"}).status_code == 200

    def test_the_model_is_the_best_trials_file(self, world: World, ran: Ran) -> None:
        sweep_id = brought_in(world, ran)
        answer = world.call("GET", f"/v1/sweeps/{sweep_id}/model", "vic")
        best = SweepFolder(ran.folder).best_weights(ran.summary["best"]["number"])
        assert answer.content == best.read_bytes()
        assert answer.headers["content-type"] == "application/octet-stream"
        assert f'filename="{sweep_id}.pt"' in answer.headers["content-disposition"]
        state = torch.load(io.BytesIO(answer.content), weights_only=True)
        assert state

    def test_a_model_that_is_no_longer_there_is_said(self, world: World, ran: Ran) -> None:
        sweep_id = brought_in(world, ran)
        folder_of(world, sweep_id).drop_trial(ran.summary["best"]["number"])
        body = refused(world.call("GET", f"/v1/sweeps/{sweep_id}/model"), 404)
        assert body["detail"] == f"no model available for {sweep_id} (state: succeeded)"


class TestNothingYet:
    """Of a sweep that has not come so far."""

    @pytest.mark.parametrize(
        ("what", "words"),
        [
            ("best", "no trial of {} is complete yet"),
            ("report", "no trial of {} has started yet"),
            ("report?format=text", "no trial of {} has started yet"),
            ("report?format=json", "no trial of {} has started yet"),
            ("model", "no model available for {} (state: queued)"),
        ],
    )
    @pytest.mark.parametrize("folder", [False, True])
    def test_it_is_said(self, world: World, what: str, words: str, folder: bool) -> None:
        sweep_id = world.submit()
        if folder:  # a driver has begun with it and has no trial yet
            shutil.copy(_written(world, sweep_id), folder_of(world, sweep_id).spec)
        body = refused(world.call("GET", f"/v1/sweeps/{sweep_id}/{what}"), 404)
        assert body["detail"] == words.format(sweep_id)

    def test_a_sweep_whose_trials_all_failed_has_no_best(self, world: World) -> None:
        sweep_id = world.submit()
        world.launch(sweep_id)
        failed = Trial(number=1, state=TrialState.FAILED, role=Role.SEARCH, params={}, reason="x")
        world.service.progress.record(sweep_id, 1, DriverReport(trials=[failed]))
        world.brought_to(sweep_id, JobState.FAILED)
        refused(world.call("GET", f"/v1/sweeps/{sweep_id}/best"), 404)
        body = refused(world.call("GET", f"/v1/sweeps/{sweep_id}/model"), 404)
        assert body["detail"] == f"no model available for {sweep_id} (state: failed)"

    def test_edges_of_a_sweep_that_runs_are_those_of_the_ranges_that_it_samples(
        self, world: World
    ) -> None:
        space = {"penalty": {"choice": ["none", "l1"]}, "lambda": "auto"}
        raw = {**SPEC, "space": space}
        sweep_id = str(world.call("POST", "/v1/sweeps", json=raw).json()["sweep_id"])
        world.launch(sweep_id)
        spec = parse_spec(raw, "spec", Path())
        when = {"penalty": ("l1",)}
        sampled = Float.model_validate({"float": (1e-4, 0.1), "log": True, "when": when})
        study = open_study(spec, folder_of(world, sweep_id).journal)
        study.store_space(spec.space.replace("lambda", sampled))
        best = Trial(
            number=0,
            state=TrialState.COMPLETE,
            role=Role.SEARCH,
            params={"penalty": "l1", "lambda": 0.09},
            value=0.5,
            best={"val/loss": 0.5},
        )
        world.service.progress.record(sweep_id, 1, DriverReport(trials=[best]))
        path = f"/v1/sweeps/{sweep_id}/report"
        (edge,) = world.call("GET", path, params={"format": "json"}).json()["edges"]["edges"]
        assert (edge["low"], edge["high"], edge["end"]) == (1e-4, 0.1, "high")
        assert edge["computed"] is True

    def test_a_best_trial_without_a_baseline_is_given(self, world: World) -> None:
        sweep_id = world.submit()
        world.launch(sweep_id)
        done = Trial(number=3, state=TrialState.COMPLETE, role=Role.SEARCH, params={}, value=0.5)
        world.service.progress.record(sweep_id, 1, DriverReport(trials=[done]))
        found = world.call("GET", f"/v1/sweeps/{sweep_id}/best").json()
        assert (found["best"]["number"], found["baseline"]) == (3, None)

    @pytest.mark.parametrize("what", ["best", "report", "logs", "model"])
    def test_a_sweep_that_is_not_there_is_said(self, world: World, what: str) -> None:
        assert (
            "'nothing'" in refused(world.call("GET", f"/v1/sweeps/nothing/{what}"), 404)["detail"]
        )


def _written(world: World, sweep_id: str) -> Path:
    path = Path(world.service.settings.home) / "spec.yaml"
    path.write_text(world.service.sweeps.get(sweep_id).spec, encoding="utf-8")
    return path


class TestLogs:
    """What drivers had to say."""

    def read(self, world: World, sweep_id: str, offset: int = 0) -> tuple[str, int, bool]:
        answer = world.call("GET", f"/v1/sweeps/{sweep_id}/logs", "vic", params={"offset": offset})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return body["text"], body["next"], body["ended"]

    def test_where_nothing_was_said_yet_there_is_nothing(self, world: World) -> None:
        sweep_id = world.submit()
        assert self.read(world, sweep_id) == ("", 0, False)
        assert self.read(world, sweep_id, 7) == ("", 7, False)

    def test_they_are_read_in_pieces_by_bytes(self, world: World) -> None:
        sweep_id = world.submit()
        log = folder_of(world, sweep_id).driver_log
        log.write_text("λ = 1\nzwei\n", encoding="utf-8")
        assert self.read(world, sweep_id) == ("λ = 1\nzwei\n", 12, False)
        assert self.read(world, sweep_id, 7) == ("zwei\n", 12, False)
        assert self.read(world, sweep_id, 12) == ("", 12, False)
        assert self.read(world, sweep_id, 10**9) == ("", 10**9, False)
        with log.open("a", encoding="utf-8") as file:
            file.write("drei\n")
        world.brought_to(sweep_id, JobState.CANCELLED)
        assert self.read(world, sweep_id, 12) == ("drei\n", 17, True)

    def test_a_line_is_given_when_it_is_whole(self, world: World) -> None:
        sweep_id = world.submit()
        log = folder_of(world, sweep_id).driver_log
        log.write_bytes(b"one\ntw")
        assert self.read(world, sweep_id) == ("one\n", 4, False)
        log.write_bytes(b"one\ntwo\nth")
        assert self.read(world, sweep_id, 4) == ("two\n", 8, False)

    def test_a_line_that_is_not_whole_is_not_given_when_one_asks_again(self, world: World) -> None:
        sweep_id = world.submit()
        log = folder_of(world, sweep_id).driver_log
        whole = "one\nλ = 2\n".encode()
        log.write_bytes(whole[:5])
        assert self.read(world, sweep_id, 4) == ("", 4, False)
        log.write_bytes(whole)
        assert self.read(world, sweep_id, 4) == ("λ = 2\n", len(whole), False)

    def test_the_last_line_of_a_sweep_that_is_over_is_given_as_it_is(self, world: World) -> None:
        sweep_id = world.submit()
        folder_of(world, sweep_id).driver_log.write_bytes(b"one\nkilled whi")
        world.brought_to(sweep_id, JobState.CANCELLED)
        text, following, _ = self.read(world, sweep_id)
        rest, end, ended = self.read(world, sweep_id, following)
        assert (text + rest, end, ended) == ("one\nkilled whi", 14, True)

    def test_a_long_log_comes_whole_in_the_end(self, world: World) -> None:
        sweep_id = world.submit()
        lines = "".join(f"line {n} {'λ' * 200}\n" for n in range(6000)) + "x" * 2**21 + "\n"
        folder_of(world, sweep_id).driver_log.write_text(lines, encoding="utf-8")
        found, offset = "", 0
        while True:
            text, following, _ = self.read(world, sweep_id, offset)
            assert len(text.encode()) <= 2**20
            if following == offset:
                break
            found, offset = found + text, following
        assert found == lines
        for beyond in (2**44, 2**53 - 1):  # a file system has smaller limits
            assert self.read(world, sweep_id, beyond)[:2] == ("", beyond)
        for wrong in (-1, "x", 2**53):
            asked = {"offset": wrong}
            refused(world.call("GET", f"/v1/sweeps/{sweep_id}/logs", params=asked), 422)


FINE = archive(("mine/__init__.py", b"x = 1\n"), ("alone.py", b"y = 2\n"))


def hand_in(world: World, archive: bytes, user: str = "ann") -> Response:
    headers = {"Content-Type": "application/zip"}
    return world.call("POST", "/v1/bundles", user, content=archive, headers=headers)


class TestBundles:
    """Code of users' own."""

    def test_one_that_is_fine_lies_in_the_home_under_its_digest(
        self, world: World, tmp_path: Path
    ) -> None:
        digest = hashlib.sha256(FINE).hexdigest()
        done = hand_in(world, FINE)
        assert done.status_code == 201
        assert done.json() == {"digest": digest, "size": len(FINE), "modules": ["alone", "mine"]}
        folder = tmp_path / "bundles" / digest
        assert (folder / "mine" / "__init__.py").read_bytes() == b"x = 1\n"
        assert (folder / "alone" / "__init__.py").read_bytes() == b"y = 2\n"
        again = hand_in(world, FINE, "bob")
        assert (again.status_code, again.json()) == (201, done.json())
        assert world.service.bundles.get(digest).owner == "ann"

    def test_a_sweep_is_submitted_with_one_that_is_there(
        self, world: World, tmp_path: Path
    ) -> None:
        digest = hand_in(world, FINE).json()["digest"]
        spec = {**SPEC, "trainable": "mine.nets:Net"}
        done = world.call("POST", "/v1/sweeps", json=spec, params={"bundle": digest})
        assert (done.status_code, done.json()["bundle"]) == (201, digest)
        job = world.service.sweeps.get(done.json()["sweep_id"])
        folder = tmp_path / "bundles" / digest
        assert world.service.find_modules(job) == (folder / "alone", folder / "mine")
        assert world.service.find_modules(world.service.sweeps.get(world.submit())) == ()

    @pytest.mark.parametrize("digest", ["0" * 64, "x", "../../etc"])
    def test_a_sweep_with_one_that_is_not_there_is_refused(self, world: World, digest: str) -> None:
        answer = world.call("POST", "/v1/sweeps", json=SPEC, params={"bundle": digest})
        assert f"no bundle {digest!r}; upload it first" in refused(answer, 404)["detail"]
        asked = {"bundle": "0" * 65}
        refused(world.call("POST", "/v1/sweeps", json=SPEC, params=asked), 422)
        assert world.call("GET", "/v1/sweeps").json()["items"] == []

    @pytest.mark.parametrize(
        ("archive", "words"),
        [
            (b"", "not a readable zip archive"),
            (b"no zip", "not a readable zip archive"),
            (FINE[:-5], "not a readable zip archive"),
            (archive(("notes.txt", b"x")), "no Python module"),
            (archive(("mine.py", b""), ("../evil.py", b"x")), "outside of the archive's folder"),
            (archive(("/etc/evil.py", b"x")), "outside of the archive's folder"),
            (archive(("mine.py", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "is a link"),
            (archive(("service/__init__.py", b"")), "'service' would shadow"),
            (archive(("json.py", b"")), "'json' would shadow Python's module"),
        ],
    )
    def test_one_that_cannot_be_taken_is_refused_and_leaves_nothing(
        self, world: World, tmp_path: Path, archive: bytes, words: str
    ) -> None:
        assert words in refused(hand_in(world, archive), 422)["detail"]
        assert not list((tmp_path / "bundles").rglob("*"))
        assert not (tmp_path / "evil.py").exists()

    def test_bombs_and_what_is_too_large_are_refused(self, tmp_path: Path) -> None:
        world = World(tmp_path, bundles=BundleLimits(packed=4096, unpacked=100_000))
        bomb = archive(("mine.py", bytes(1_000_000)))
        assert len(bomb) < 4096
        body = refused(hand_in(world, bomb), 422)
        assert "more than 100000 bytes unpacked" in body["detail"]
        body = refused(hand_in(world, bytes(4097)), 413)
        assert body["detail"] == "a bundle is too large; the limit is 4 KiB"
        assert not list((tmp_path / "bundles").rglob("*"))

    def test_who_only_looks_hands_nothing_in(self, world: World) -> None:
        assert "vic is a viewer" in refused(hand_in(world, FINE, "vic"), 403)["detail"]

    def test_with_an_allow_list_no_code_is_taken(self, tmp_path: Path) -> None:
        world = World(tmp_path, trainables=("trainables.*",))
        for user in ("ann", "root"):
            body = refused(hand_in(world, FINE, user), 403)
            assert "allowed: trainables.*" in body["detail"]
        assert not (tmp_path / "bundles").exists()


class Nodes:
    """Of a cluster what the API asks for."""

    def __init__(self) -> None:
        self.away = False

    def list_nodes(self) -> Sequence[ClusterNode]:
        if self.away:
            raise ClusterUnavailableError("http://head-17:8265 does not answer")
        return [ClusterNode("head", Amount(4.0, 0.0)), ClusterNode("big", Amount(16.0, 2.0))]


class TestCluster:
    """What there is to run on."""

    def with_cluster(self, world: World) -> Nodes:
        nodes = Nodes()
        app = create_app(world.service, nodes)  # type: ignore[arg-type]  # no call starts a job
        world.http = TestClient(app, raise_server_exceptions=False)
        return nodes

    def test_a_server_without_one_says_so(self, world: World) -> None:
        refused(world.call("GET", "/v1/cluster"), 503)

    def test_its_nodes_and_how_many_wait_and_run_are_told(self, world: World) -> None:
        self.with_cluster(world)
        for states in ((), (), HOLDS_A_JOB[:1], HOLDS_A_JOB, (JobState.CANCELLED,)):
            world.brought_to(world.submit(), *states)
        found = world.call("GET", "/v1/cluster", "vic").json()
        assert found == {
            "nodes": [
                {"name": "head", "cpus": 4.0, "gpus": 0.0},
                {"name": "big", "cpus": 16.0, "gpus": 2.0},
            ],
            "queued": 2,
            "running": 2,
        }

    def test_one_that_is_away_is_said_without_saying_where(self, world: World) -> None:
        self.with_cluster(world).away = True
        body = refused(world.call("GET", "/v1/cluster"), 503)
        assert body["detail"] == "the cluster does not answer; try again later"


class TestMetrics:
    """What a monitoring system reads."""

    def read(self, http: TestClient) -> dict[str, list[tuple[dict[str, str], float]]]:
        answer = http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = [s for f in text_string_to_metric_families(answer.text) for s in f.samples]
        found: dict[str, list[tuple[dict[str, str], float]]] = {s.name: [] for s in samples}
        for sample in samples:
            found[sample.name].append((dict(sample.labels), sample.value))
        return found

    def counted(self, world: World) -> dict[tuple[str, str, str], float]:
        samples = self.read(world.http)["gapsweep_requests_total"]
        return {(s["method"], s["path"], s["status"]): value for s, value in samples}

    def test_requests_are_counted_by_route_and_not_by_url(self, world: World) -> None:
        ids = [world.submit() for _ in range(3)]
        for sweep_id in ids:
            world.call("GET", f"/v1/sweeps/{sweep_id}")
            world.act(sweep_id, "cancel")
        for n in range(4):
            world.call("GET", f"/v1/sweeps/nothing-{n}")
            world.call("GET", f"/nowhere/{n}")
        world.call("GET", "/v1/sweeps", None)
        found = self.counted(world)
        assert found == {
            ("POST", "/v1/sweeps", "201"): 3,
            ("GET", "/v1/sweeps/{sweep_id}", "200"): 3,
            ("GET", "/v1/sweeps/{sweep_id}", "404"): 4,
            ("POST", "/v1/sweeps/{sweep_id}:cancel", "200"): 3,
            ("GET", "other", "404"): 4,
            ("GET", "/v1/sweeps", "401"): 1,
        }
        timed = self.read(world.http)["gapsweep_request_seconds_count"]
        assert ({"method": "POST", "path": "/v1/sweeps"}, 3.0) in timed

    def test_what_went_wrong_is_counted_too(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: object) -> None:
            raise RuntimeError("nobody foresaw that")

        monkeypatch.setattr(world.service.sweeps, "page", fail)
        refused(world.call("GET", "/v1/sweeps"), 500)
        assert self.counted(world)[("GET", "/v1/sweeps", "500")] == 1

    def test_methods_that_are_none_are_not_counted_each_by_itself(self, world: World) -> None:
        for n in range(5):
            world.call(f"MADEUP{n}", "/healthz", None)
        assert len({method for method, _, _ in self.counted(world)}) == 1

    def test_sweeps_are_counted_by_state(self, world: World) -> None:
        for states in ((), (), HOLDS_A_JOB, (JobState.CANCELLED,)):
            world.brought_to(world.submit(), *states)
        found = self.read(world.http)
        counts = {labels["state"]: value for labels, value in found["gapsweep_sweeps"]}
        assert counts == {
            **dict.fromkeys((state.value for state in JobState), 0.0),
            "queued": 2.0,
            "running": 1.0,
            "cancelled": 1.0,
        }
        assert found["gapsweep_store_up"] == [({}, 1.0)]

    def test_they_are_told_while_the_database_is_away(self, world: World) -> None:
        broken = SweepService(world.service.settings, Database("sqlite:////nowhere/at/all.db"))
        http = TestClient(create_app(broken), raise_server_exceptions=False)
        refused(http.get("/v1/sweeps", headers={"Authorization": "Bearer x"}), 503)
        found = self.read(http)
        assert found["gapsweep_store_up"] == [({}, 0.0)]
        assert "gapsweep_sweeps" not in found
        labels = {"method": "GET", "path": "/v1/sweeps", "status": "503"}
        assert (labels, 1.0) in found["gapsweep_requests_total"]


def test_every_problem_says_the_servers_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody foresaw that")

    sweep_id = world.submit()
    answers = {
        "no token": world.call("GET", "/v1/sweeps", None),
        "a viewer": world.call("POST", "/v1/sweeps", "vic", json=SPEC),
        "no sweep": world.call("GET", "/v1/sweeps/nothing"),
        "no path": world.call("GET", "/nowhere"),
        "no method": world.call("PUT", "/healthz"),
        "no way": world.act(sweep_id, "resume"),
        "too large": world.call("POST", "/v1/validate", content=b"x" * 300_000),
        "no spec": world.call("POST", "/v1/validate", json={}),
        "no number": world.call("GET", "/v1/sweeps", params={"limit": "x"}),
        "no cluster": world.call("GET", "/v1/cluster"),
    }
    monkeypatch.setattr(world.service.progress, "trials", fail)
    answers["broken"] = world.call("GET", f"/v1/sweeps/{sweep_id}/trials")
    world.http = TestClient(create_app(world.service, rates=RateSettings(requests="1/hour")))
    world.call("GET", "/v1/sweeps")
    answers["too many"] = world.call("GET", "/v1/sweeps")
    statuses = [answer.status_code for answer in answers.values()]
    assert statuses == [401, 403, 404, 404, 405, 409, 413, 422, 422, 503, 500, 429]
    for what, answer in answers.items():
        refused(answer, answer.status_code)
        assert answer.headers.get("Gapsweep-Version") == get_installed_version(), what


class TestAllowList:
    """A server that runs no code but what it knows."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        patterns = ("trainables.*", "ours.losses:*", "ours.data:digits")
        made = World(tmp_path, trainables=patterns)
        (tmp_path / "data").mkdir()
        yield made
        made.close()

    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"training": {"loss": "cross_entropy"}},
            {"training": {"loss": "ours.losses:focal"}},
            {"training": {"metrics": ["ours.losses:f1"]}},
            {"data": "ours.data:digits"},
            {"data": {"name": "function", "path": "ours.data:digits"}},
            {"data": {"name": "csv", "path": "table.csv", "target": "y"}},
            {"data": {"name": "npz", "path": "deep/./er/../arrays.npz"}},
        ],
    )
    def test_what_it_knows_is_taken(self, world: World, change: dict[str, Any]) -> None:
        spec = {**SPEC, **change}
        for path, status in (("/v1/validate", 200), ("/v1/sweeps", 201)):
            answer = world.call("POST", path, json=spec)
            assert answer.status_code == status, answer.text

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"trainable": "os:system"}, "os:system"),
            ({"trainable": "mine.trainables.x:Net"}, "mine.trainables.x:Net"),
            ({"training": {"loss": "subprocess:run"}}, "subprocess:run"),
            ({"training": {"loss": "ours.data:digits2"}}, "ours.data:digits2"),
            ({"training": {"metrics": ["ours.losses:f1", "os:system"]}}, "os:system"),
            (
                {"training": {"metrics": [{"path": "shutil:rmtree", "name": "x"}]}},
                "shutil:rmtree",
            ),
            ({"data": "os:getcwd"}, "os:getcwd"),
            ({"data": {"name": "function", "path": "ours.data:other"}}, "ours.data:other"),
            ({"trainable": "trainables.exporting:save_file"}, "trainables.exporting:save_file"),
            ({"training": {"loss": "trainables.models:MLP"}}, "trainables.models:MLP"),
            ({"model": {"hidden": [8], "act": ["os:abort"]}}, "os:abort"),
            ({"data": {"name": "ours.data:digits", "path": "os:abort"}}, "os:abort"),
        ],
    )
    def test_code_that_it_does_not_know_is_refused(
        self, world: World, change: dict[str, Any], named: str
    ) -> None:
        for path in ("/v1/validate", "/v1/sweeps"):
            body = refused(world.call("POST", path, "root", json={**SPEC, **change}), 403)
            assert body["detail"].startswith(f"this server does not allow {named!r}; allowed: ")
            assert "ours.losses:*" in body["detail"]
        assert world.call("GET", "/v1/sweeps").json()["items"] == []

    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "../service.db", "x/../../service.db", "link/service.db", ".."]
    )
    @pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "fashion_mnist"])
    def test_files_outside_the_home_are_not_read(
        self, world: World, tmp_path: Path, kind: str, path: str
    ) -> None:
        (tmp_path / "data" / "link").symlink_to(tmp_path)
        data = {
            "csv": {"path": path, "target": "y"},
            "parquet": {"path": path, "target": "y"},
            "npz": {"path": path},
            "fashion_mnist": {"folder": path},
        }[kind]
        asked = {**SPEC, "data": {"name": kind, **data}}
        body = refused(world.call("POST", "/v1/validate", json=asked), 403)
        assert "it reads data from its home folder only" in body["detail"]


def test_lists_are_filtered_by_the_beginning_of_ids(world: World) -> None:
    first, second = world.submit(), world.submit()
    other = world.call("POST", "/v1/sweeps", json={**SPEC, "name": "digits_mlp"}).json()["sweep_id"]

    def ids(prefix: str) -> list[str]:
        answer = world.call("GET", "/v1/sweeps", params={"prefix": prefix})
        return [s["sweep_id"] for s in answer.json()["items"]]

    assert ids("digits-mlp") == [second, first]
    assert ids(first) == [first]
    assert ids("digits_") == [other]
    assert ids("digits") == [other, second, first]
    assert ids("") == [other, second, first]
    assert ids("mlp") == ids("%") == ids("digits-mlp-%") == []
    refused(world.call("GET", "/v1/sweeps", params={"prefix": "x" * 97}), 422)


def test_a_sweep_says_its_newest_event_so_that_nothing_is_heard_twice_or_missed(
    world: World,
) -> None:
    sweep_id, other = world.submit(), world.submit()
    path = f"/v1/sweeps/{sweep_id}"
    submitted = world.call("GET", path).json()["last_event"]
    assert submitted > 0
    world.launch(other)
    assert world.call("GET", path).json()["last_event"] == submitted
    world.launch(sweep_id)
    running = Trial(number=0, state=TrialState.RUNNING, role=Role.SEARCH, params={})
    world.service.progress.record(sweep_id, 1, DriverReport(events=[TrialStarted(trial=running)]))
    last = world.call("GET", path).json()["last_event"]
    events = world.service.progress.events(sweep_id)
    assert last == events[-1].number
    assert [e.event.kind for e in events if e.number > submitted] == [
        "state_changed",
        "state_changed",
        "trial_started",
    ]
    world.brought_to(sweep_id, JobState.CANCELLED)
    heard = world.call("GET", f"{path}/events", headers={"Last-Event-ID": str(last)})
    assert [line for line in heard.text.splitlines() if line.startswith("event:")] == [
        "event: state_changed"
    ]
