"""MLflow's real server behind the service's real API: who may read and write what.

Each attack was possible without a token, or made the server read outside of its folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from service.base.errors import ServerError
from service.base.ports import find_free_port
from service.client.job_states import JobState
from service.server.mlflow_tasks import END_RUNS, REMOVE_RUNS, MlflowTask
from service.server.store.service_tokens import ServiceTokens
from service.study.records import Role, Trial, TrialState
from service.sweep.home import Home
from service.sweep.refit_record import Registered
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.model_registry import ModelEntry, register
from service.tracking.outbox import TrialUpdate
from tests.commands import command
from tests.drivers import api_over_http, driver_token
from tests.exported import subject_of
from tests.patience import patience, wait_for
from tests.stores import Clock
from tests.tracked import tracked
from tests.worlds import World
from trainables.analysis.example import load_example
from trainables.analysis.export import export_network

CALLS = "/api/2.0/mlflow"
PROXIED = "/api/2.0/mlflow-artifacts/artifacts"


class Served:
    """The two servers over one home."""

    def __init__(self, world: World, home: Path, url: str) -> None:
        self.world, self.home, self.url = world, home, url

    def call(
        self, method: str, path: str, user: str | None = "ann", **more: Any
    ) -> httpx2.Response:
        token = self.world.tokens.get(user or "", user)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx2.request(
            method, f"{self.url}{path}", headers=headers, timeout=patience(30), **more
        )

    def make(self, user: str = "ann") -> tuple[str, str]:
        """A new experiment and a run in it."""
        name = f"{time.monotonic_ns()}"
        made = self.call("POST", f"{CALLS}/experiments/create", user, json={"name": name})
        assert made.status_code == 200, made.text
        experiment = made.json()["experiment_id"]
        asked = {"experiment_id": experiment}
        run = self.call("POST", f"{CALLS}/runs/create", user, json=asked).json()["run"]["info"]
        assert run["artifact_uri"] == f"mlflow-artifacts:/{experiment}/{run['run_id']}/artifacts"
        return experiment, run["run_id"]


@contextmanager
def _mlflow(home: Path, api: str, cwd: Path) -> Iterator[str]:
    port = find_free_port()
    words = command("serve-mlflow", "--home", str(home), "--api", api, "--port", str(port))
    with (cwd / "log").open("wb") as log:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: process.poll() is not None or _is_healthy(url), 90)
        assert process.poll() is None, (cwd / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(patience(30))


def _is_healthy(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    cwd, home = folder / "cwd", folder / "the home"
    cwd.mkdir()
    home.mkdir()
    (folder / "secret").write_text("nobody's business")
    world = World(home)
    with api_over_http(world.service) as api, _mlflow(home, api, cwd) as url:
        yield Served(world, home, url)
        assert [p.name for p in cwd.iterdir()] == ["log"]  # nothing of MLflow's in the folder
    world.close()


def test_without_a_token_there_is_nothing_to_see(served: Served) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/version"),
        ("POST", f"{CALLS}/experiments/create"),
        ("POST", f"{CALLS}/runs/search"),
        ("PUT", f"{PROXIED}/pwn.txt"),
        ("GET", "/get-artifact"),
        ("POST", "/graphql"),
    ):
        assert served.call(method, path, None).status_code == 401
    assert not list((served.home / "artifacts").iterdir())


def test_a_client_of_mlflow_works_with_the_token_in_its_environment(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, run = served.make()
    (tmp_path / "report.html").write_text("a report")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["ann"])
    client = mlflow.MlflowClient(served.url)
    client.log_metric(run, "gap/loss", 0.5)
    client.log_artifact(run, str(tmp_path / "report.html"))
    assert [a.path for a in client.list_artifacts(run)] == ["report.html"]
    assert Path(client.download_artifacts(run, "report.html")).read_text() == "a report"
    assert list(served.home.glob("artifacts/*/*/artifacts/report.html"))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["vic"])
    assert client.get_run(run).data.metrics == {"gap/loss": 0.5}
    with pytest.raises(MlflowException, match=r"requires role user; the token's is viewer"):
        client.log_metric(run, "gap/loss", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "gs_wrong")
    with pytest.raises(MlflowException, match="invalid token"):
        client.get_run(run)


def test_a_running_sweep_writes_with_its_own_token_while_it_runs(served: Served) -> None:
    sweep_id = served.world.submit()
    served.world.launch(sweep_id)
    token = driver_token(served.world.service, sweep_id)
    _, run = served.make(token)
    logged = {"run_id": run, "key": "gap/loss", "value": 0.5, "timestamp": 1}
    assert served.call("POST", f"{CALLS}/runs/log-metric", token, json=logged).status_code == 200
    deleted = served.call("POST", f"{CALLS}/runs/delete", token, json={"run_id": run})
    assert (deleted.status_code, "the token's is sweep" in deleted.text) == (403, True)
    served.world.brought_to(sweep_id, JobState.FAILED)
    wait_for(lambda: served.call("GET", "/", token).status_code == 401, 15)


def test_only_an_admin_deletes(served: Served) -> None:
    experiment, run = served.make()
    for path, body in (
        ("runs/delete", {"run_id": run}),
        ("experiments/delete", {"experiment_id": experiment}),
    ):
        for user, status in (("vic", 403), ("ann", 403), ("root", 200)):
            assert served.call("POST", f"{CALLS}/{path}", user, json=body).status_code == status


def test_a_revoked_user_is_out_within_seconds(served: Served) -> None:
    assert served.call("GET", "/", "bob").status_code == 200
    served.world.service.users.revoke("bob")
    wait_for(lambda: served.call("GET", "/", "bob").status_code == 401, 15)


def test_no_experiment_leads_out_of_the_folder(served: Served) -> None:
    outside = served.home.parent
    for place in (outside.as_uri(), str(outside), f"{served.home.as_uri()}/../", "s3://b/x"):
        for key in ("artifact_location", "artifactLocation"):
            body = {"name": "x", key: place}
            for user in ("ann", "root"):
                made = served.call("POST", f"{CALLS}/experiments/create", user, json=body)
                assert made.status_code == 403
    for path in ("../secret", "%2e%2e/secret", "..%2fsecret", "/etc/passwd", "1/../../secret"):
        for method in ("GET", "PUT"):
            answer = served.call(method, f"{PROXIED}/{path}", "root", content=b"x")
            assert answer.status_code in (400, 403, 404), path
    assert (outside / "secret").read_text() == "nobody's business"


def test_links_and_pipes_that_were_left_in_the_folder_are_not_read(served: Served) -> None:
    experiment, run = served.make()
    folder = served.home / "artifacts" / experiment / run / "artifacts"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(served.home.parent / "secret")
    (folder / "environment").symlink_to("/proc/self/environ")
    (folder / "home").symlink_to(served.home)
    os.mkfifo(folder / "pipe")
    for name in ("link", "environment", "home/service.db", "pipe"):
        for path in (
            f"/get-artifact?run_uuid={run}&path={name}",
            f"{PROXIED}/{experiment}/{run}/artifacts/{name}",
        ):
            answer = served.call("GET", path)
            assert answer.status_code in (403, 404), (path, answer.status_code)
            assert "link or a special file" in answer.json()["message"]
    listed = served.call("GET", f"{CALLS}/artifacts/list?run_id={run}")
    assert listed.json().get("files", []) == []
    put = served.call(
        "PUT", f"{PROXIED}/{experiment}/{run}/artifacts/home/service.db", content=b"x"
    )
    assert put.status_code == 403


def test_calls_that_reach_other_hosts_or_code_are_refused(served: Served) -> None:
    for method, path in (
        ("POST", f"{CALLS}/webhooks"),
        ("POST", f"{CALLS}/model-versions/transition-stage"),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=x"),
        ("POST", "/ajax-api/3.0/jobs"),
        ("POST", "/v1/traces"),
    ):
        answer = served.call(method, path, "root", json={})
        assert answer.status_code == 403
        assert "does not answer" in answer.json()["message"]


def test_a_sweep_logs_with_a_token_and_a_later_one_without_a_server(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `gapsweep up` and then `gapsweep run` over one home: both put artifacts below the home."""
    home = Home(served.home)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["ann"])
    for name, uri, artifacts in (
        ("first", served.url, None),
        ("second", home.mlflow_uri, home.artifacts.as_uri()),
    ):
        (tmp_path / "spec.yaml").write_text(f"name: {name}\n")
        runs = SweepRuns(uri, artifacts, tracked(name, tmp_path / "spec.yaml"))
        parent = runs.open().parent
        shown = served.call("GET", f"/get-artifact?run_uuid={parent}&path=spec.yaml", "vic")
        assert (shown.status_code, shown.text) == (200, f"name: {name}\n")
        asked = served.call("GET", f"{CALLS}/artifacts/list?run_id={parent}").json()
        assert [f["path"] for f in asked["files"]] == ["spec.yaml"]


def test_a_user_registers_a_network_that_others_load_and_a_viewer_does_not(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subject = subject_of("layers")
    export_network(subject, tmp_path / "files", verify=False)
    example, outputs = load_example(tmp_path / "files" / "example.npz")
    (tmp_path / "spec.yaml").write_text("name: x\n")
    entry = ModelEntry(
        key="x-1/1",
        name="x",
        sweep_id="x-1",
        trial=3,
        description="It helps.",
        params={"dropout": 0.1},
        metrics={"test/loss": 0.5},
        tags={},
        files=tmp_path / "files",
        example=example,
        outputs=outputs,
        requirements=("torch",),
    )

    def ask(user: str, uri: str, artifacts: str | None) -> Registered:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens[user])
        runs = SweepRuns(uri, artifacts, tracked("x-1", tmp_path / "spec.yaml"))
        return register(runs, uri, artifacts, entry)

    home = Home(served.home)
    with pytest.raises(ServerError, match="requires role user; the token's is viewer"):
        ask("vic", served.url, None)
    made = ask("ann", served.url, None)
    assert made.uri == "models:/x/1"
    assert ask("ann", served.url, None) == made
    direct = ask("ann", home.mlflow_uri, home.artifacts.as_uri())
    assert direct == made
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["vic"])
    client = mlflow.MlflowClient(served.url)
    version = client.get_model_version("x", "1")
    assert (version.description, version.tags["gapsweep.trial"]) == ("It helps.", "3")
    experiment = client.get_run(made.run).info.experiment_id
    runs = client.search_runs([experiment], "tags.`gapsweep.sweep_id` = 'x-1'")
    (parent,) = [r for r in runs if r.info.run_id != made.run]
    assert client.get_run(made.run).data.tags["mlflow.parentRunId"] == parent.info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.url)
    loaded = mlflow.pyfunc.load_model("models:/x/1")
    np.testing.assert_allclose(loaded.predict(example), outputs, rtol=1e-5, atol=1e-6)


def test_an_old_home_whose_artifacts_are_files_still_opens_and_a_foreign_place_does_not(
    served: Served, tmp_path: Path
) -> None:
    """As older versions, or an attack on one, left them in the database."""
    home = Home(served.home)
    client = mlflow.MlflowClient(home.mlflow_uri)
    for name, place, status in (
        ("old", home.artifacts, 200),
        ("foreign", served.home.parent, 403),
    ):
        experiment = client.create_experiment(name, artifact_location=place.as_uri())
        run = client.create_run(experiment).info.run_id
        (tmp_path / "a.txt").write_text("text")
        client.log_artifact(run, str(tmp_path / "a.txt"))
        answer = served.call("GET", f"/get-artifact?run_uuid={run}&path=a.txt", "root")
        assert answer.status_code == status, answer.text
        listed = served.call("GET", f"{CALLS}/artifacts/list?run_id={run}", "root")
        assert listed.status_code == status
    assert json.loads(answer.text)["error_code"] == "PERMISSION_DENIED"


def test_the_service_removes_a_deleted_sweeps_runs_for_good(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the service, by a token of its own; a refit's run stays, and no user's token does it."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["ann"])
    (tmp_path / "spec.yaml").write_text("name: x\n")
    (tmp_path / "report.html").write_text("a report")
    client = mlflow.MlflowClient(served.url)
    runs = {}
    for sweep_id in ("gone-1", "kept-1"):
        about = tracked(sweep_id, tmp_path / "spec.yaml")
        sweep = SweepRuns(served.url, None, about).open()
        client.log_artifact(sweep.parent, str(tmp_path / "report.html"))
        runs[sweep_id] = sweep.parent
    refit = client.create_run(
        sweep.experiment, tags={"gapsweep.sweep_id": "gone-1", "gapsweep.role": "refit"}
    )
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    about = (REMOVE_RUNS, served.home, served.url)
    as_ann = MlflowTask(*about, lambda: served.world.tokens["ann"])
    assert as_ann(["gone-1"]) == frozenset()
    remover = MlflowTask(*about, served.world.service.service_tokens.make)
    assert remover(["gone-1"]) == {"gone-1"}
    assert not list(served.home.glob(f"artifacts/*/{runs['gone-1']}"))
    assert list(served.home.glob(f"artifacts/*/{runs['kept-1']}/artifacts/report.html"))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["ann"])
    assert client.get_run(runs["kept-1"]).info.lifecycle_stage == "active"
    assert client.get_run(refit.info.run_id).info.lifecycle_stage == "active"

    def is_gone() -> bool:
        try:
            client.get_run(runs["gone-1"])
        except MlflowException as error:
            return error.error_code == "RESOURCE_DOES_NOT_EXIST"
        return False

    wait_for(is_gone, 30)


def test_the_service_ends_the_runs_that_a_sweep_left_open(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its driver was killed, and a delayed request opened the run of another sweep again."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["ann"])
    (tmp_path / "spec.yaml").write_text("name: x\n")
    client, states = mlflow.MlflowClient(served.url), (TrialState.RUNNING, TrialState.PAUSED)
    trials = [Trial(number=n, state=s, role=Role.SEARCH, params={}) for n, s in enumerate(states)]
    news = [TrialUpdate(trial=t, changed=True, epochs=()) for t in trials]
    for sweep_id in ("dead-1", "paused-1", "running-1"):
        SweepRuns(served.url, None, tracked(sweep_id, tmp_path / "spec.yaml")).write(news)
    late = SweepRuns(served.url, None, tracked("late-1", tmp_path / "spec.yaml"))
    opened = late.open()
    client.set_terminated(opened.parent, "FINISHED")
    client.update_run(opened.parent, "RUNNING")
    tags = {"gapsweep.sweep_id": "late-1", "gapsweep.role": "refit"}
    client.create_run(opened.experiment, tags=tags)
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    end = MlflowTask(END_RUNS, served.home, served.url, served.world.service.service_tokens.make)
    stopped = {"dead-1": "failed", "paused-1": "paused", "late-1": "succeeded", "none-1": "failed"}
    assert end([f"{name}={state}" for name, state in stopped.items()]) == stopped.keys()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", served.world.tokens["ann"])

    def statuses(sweep_id: str) -> list[str]:
        found = client.search_runs([opened.experiment], f"tags.`gapsweep.sweep_id` = '{sweep_id}'")
        return sorted(run.info.status for run in found)

    assert statuses("dead-1") == ["FAILED", "KILLED", "KILLED"]
    assert statuses("paused-1") == ["KILLED", "KILLED", "KILLED"]
    assert statuses("late-1") == ["FINISHED", "RUNNING"]
    assert statuses("running-1") == ["RUNNING", "RUNNING", "RUNNING"]


def test_runs_stay_to_be_ended_while_mlflow_is_away(served: Served) -> None:
    away = MlflowTask(END_RUNS, served.home, f"http://127.0.0.1:{find_free_port()}", lambda: "x")
    assert away(["dead-1=failed"]) == frozenset()


def test_the_services_own_token_ends_soon_and_opens_nothing_else(served: Served) -> None:
    clock = Clock(1_000_000.0)
    tokens = ServiceTokens(served.world.database, clock)
    token = tokens.make()
    assert tokens.is_valid(token)
    forged = f"{token[:-1]}{'0' if token[-1] != '0' else '1'}"
    assert not tokens.is_valid(forged)
    assert not tokens.is_valid(token.replace(str(1_000_600), str(9_000_000)))
    clock.now += 601
    assert not tokens.is_valid(token)
    now = {"Authorization": f"Bearer {served.world.service.service_tokens.make()}"}
    assert served.world.call("GET", "/v1/me", None, headers=now).json()["role"] == "service"
    assert served.world.call("GET", "/v1/sweeps", None, headers=now).status_code == 401
