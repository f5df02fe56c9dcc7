"""The service as its users have it: real Ray nodes, PostgreSQL, MLflow, and the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml

from service.client import endpoints
from service.client.job_states import JobState
from service.study.records import TrialState
from service.sweep.code_record import read_code
from service.sweep.home import SweepFolder
from tests.commands import Done, command
from tests.paced import CODE, EPOCHS, held, spec_of
from tests.patience import patience, wait_for
from tests.stack import SECRET, Stack, stack

pytestmark = [pytest.mark.ray, pytest.mark.postgres]


@pytest.fixture(scope="module")
def service() -> Iterator[Stack]:
    with stack(2, 1, options=["--running", "2", "--running-per-user", "1"]) as running:
        yield running


@pytest.fixture
def paced(tmp_path: Path) -> Path:
    """The folder of a user's own code and spec."""
    (tmp_path / "paced.py").write_text(CODE)
    return tmp_path


def spec(
    folder: Path,
    trials: int,
    pause: float = 0.0,
    concurrent: int = 1,
    barrier: Path | None = None,
    retries: int = 2,
) -> Path:
    """Such a sweep in a file."""
    path = folder / "paced.yaml"
    path.write_text(yaml.safe_dump(spec_of(trials, pause, concurrent, barrier, retries)))
    return path


def whole(service: Stack, sweep_id: str, trials: int) -> None:
    """Every trial is there once and complete, with every epoch once: in the store and in MLflow."""
    found = service.progress.trials(sweep_id)
    assert [t.number for t in found] == list(range(trials))
    others = {t.number: (t.state, t.reason) for t in found if t.state is not TrialState.COMPLETE}
    assert not others
    for number in range(trials):
        epochs = service.progress.trial(sweep_id, number).epochs
        assert [e.epoch for e in epochs] == list(range(1, EPOCHS + 1))
    kinds = Counter(e.event.kind for e in service.progress.events(sweep_id, limit=100_000))
    assert kinds["trial_started"] == kinds["trial_ended"] == trials
    assert kinds["epoch_ended"] == trials * EPOCHS
    runs = service.mlflow_runs(sweep_id)
    assert Counter(r["info"]["status"] for r in runs) == {"FINISHED": trials + 1}
    tags = [{t["key"]: t["value"] for t in r["data"]["tags"]} for r in runs]
    numbers = [int(t["gapsweep.trial"]) for t in tags if "gapsweep.trial" in t]
    assert sorted(numbers) == list(range(trials))


@dataclass(frozen=True)
class Shared:
    """Sweeps of two users that were submitted at once; ``done`` is the command of the last one."""

    first: str
    then: str
    theirs: str
    late: str
    folder: Path
    done: Done

    @property
    def all(self) -> tuple[str, ...]:
        return self.first, self.then, self.theirs, self.late


@pytest.fixture(scope="module")
def shared(service: Stack, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Ann's and Bob's sweeps, one after the other, one urgent and watched to its end."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "paced.py").write_text(CODE)
    code = ("--with", str(folder / "paced.py"))
    small = spec(folder, 3)
    first = service.submit(small, *code)
    then = service.submit(small, *code, "--after", first)
    theirs = service.submit(small, *code, user="bob")
    urgent = ("submit", str(spec(folder, 6)), *code, "--priority", "5", "--watch")
    done = service.gapsweep(*urgent)
    late = json.loads(service.gapsweep("status", "--json").stdout)["sweep_id"]
    for sweep_id in (first, then, theirs):
        service.wait(sweep_id, JobState.SUCCEEDED, 120)
    return Shared(first, then, theirs, late, folder, done)


def test_the_life_of_a_sweep_by_the_command_line(service: Stack, shared: Shared) -> None:
    done, paced, sweep_id = shared.done, shared.folder, shared.late
    assert done.returncode == 0, done.stderr
    assert "best so far" in done.stdout
    assert "Baseline, control and best" in done.stdout
    assert f"{sweep_id} succeeded: 6 complete" in done.stderr
    whole(service, sweep_id, 6)
    listed = service.gapsweep("list", user="vic").stdout
    assert sweep_id in listed
    assert "6/6" in listed
    assert service.gapsweep("trials", sweep_id[:8]).stdout.count("complete") == 6
    assert "attempt 1 of" in service.gapsweep("logs", sweep_id, "-f").stdout
    summary = json.loads(service.gapsweep("report", sweep_id, "--json").stdout)
    assert summary["trials"]["complete"] == 6
    page = paced / "page.html"
    assert service.gapsweep("report", sweep_id, "--html", str(page)).returncode == 0
    assert "<svg" in page.read_text()
    model = paced / "model.pt"
    assert service.gapsweep("download", sweep_id, "--to", str(model)).returncode == 0
    assert "body.1.weight" in torch.load(model, weights_only=True)
    code = read_code(SweepFolder(service.home / "sweeps" / sweep_id))
    assert code is not None
    assert code.bundle == service.job(sweep_id).bundle
    (file,) = [f for f in code.files if f.module == "paced"]
    assert (file.origin, file.sha256) == ("user", sha256(CODE.encode()).hexdigest())
    extended = service.gapsweep("extend", sweep_id, "--trials", "3")
    assert extended.returncode == 0, extended.stderr
    watched = service.gapsweep("watch", sweep_id)
    assert watched.returncode == 0, watched.stderr
    whole(service, sweep_id, 9)


def test_users_share_the_cluster_and_dependencies_are_kept(service: Stack, shared: Shared) -> None:
    ids = {s: service.client().do(endpoints.sweep(s)).history for s in shared.all}
    began = {s: next(t.time for t in h if t.new == "starting") for s, h in ids.items()}
    ended = {s: next(t.time for t in h if t.new == "succeeded") for s, h in ids.items()}
    assert began[shared.theirs] < ended[shared.first]  # one of each user at once
    # one at a time of one user
    assert min(began[shared.then], began[shared.late]) > ended[shared.first]
    assert began[shared.late] < began[shared.then]  # the more urgent one first


def test_a_sweep_is_paused_resumed_cancelled_and_tried_again(service: Stack, paced: Path) -> None:
    code = ("--with", str(paced / "paced.py"))
    sweep_id = service.submit(spec(paced, 20, pause=0.01), *code)
    service.reach(sweep_id, 3)
    assert len(service.drivers()) == 1
    refused = service.gapsweep("cancel", sweep_id, user="bob")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "belongs to ann; only ann or an admin can change it" in refused.stderr
    for action, state in (("pause", JobState.PAUSED), ("cancel", JobState.CANCELLED)):
        assert service.gapsweep(action, sweep_id).returncode == 0
        service.wait(sweep_id, state)
        wait_for(lambda: not service.drivers(), 90)
        before = service.trials(sweep_id)
        assert before < 20
        again = "resume" if action == "pause" else "retry"
        assert service.gapsweep(again, sweep_id).returncode == 0
        service.reach(sweep_id, before + 1)
    service.wait(sweep_id, JobState.SUCCEEDED)
    whole(service, sweep_id, 20)
    states = [str(t.new) for t in service.client().do(endpoints.sweep(sweep_id)).history]
    assert [s for s in states if s in ("paused", "cancelled", "succeeded")] == [
        "paused",
        "cancelled",
        "succeeded",
    ]


def test_whatever_is_killed_in_turn_every_trial_is_there_once(service: Stack, paced: Path) -> None:
    """No trial ends while a server starts, however long that takes: enough are left to the end."""
    trials, barrier = 48, paced / "barrier"
    code = ("--with", str(paced / "paced.py"))
    # a trial may be started again on a node that is dying, more than once on a busy machine
    slow = spec(paced, trials, pause=0.02, concurrent=3, barrier=barrier, retries=10)
    sweep_id = service.submit(slow, *code)
    service.api.kill()  # perhaps before its job is launched, perhaps after
    time.sleep(1)
    with held(barrier):
        service.api.start()
    watching = subprocess.Popen(
        command("watch", sweep_id),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **service.env()},
    )

    def some_more(count: int = 3) -> None:
        before = service.trials(sweep_id)
        service.reach(sweep_id, min(before + count, trials))

    some_more()
    service.api.kill()
    before = service.logged(sweep_id)
    wait_for(lambda: service.logged(sweep_id) >= before + 3, 120)  # the store hears of them later
    with held(barrier):
        service.api.start()
    service.mlflow.kill()
    some_more()
    with held(barrier):
        service.mlflow.start()
    service.postgres.stop()
    time.sleep(3)
    service.postgres.start()
    some_more()
    service.ray.kill_node(1)
    some_more()
    with held(barrier):
        service.ray.start_node(1, 1)
    some_more()
    for process in service.drivers():
        os.kill(process, signal.SIGKILL)
    some_more()
    job = service.wait(sweep_id, JobState.SUCCEEDED, 180)
    assert (job.attempt, job.failures) == (2, 1)
    whole(service, sweep_id, trials)
    shown, notes = watching.communicate(timeout=patience(120))
    assert watching.returncode == 0, notes
    told = [line.split()[1] for line in shown.splitlines() if line.startswith("trial ")]
    there = re.search(r"(\d+) already started", shown)
    known = int(there[1]) if there else 0
    assert len(told) == len(set(told))
    assert {int(number) for number in told} >= set(range(known, trials)), shown


def test_a_node_with_another_gapsweep_says_so_and_the_sweep_fails(
    service: Stack, paced: Path
) -> None:
    other = paced / "other" / "gapsweep-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: gapsweep\nVersion: 9.9\n")
    service.ray.start_node(2, 1, env={"PYTHONPATH": str(other.parent)})
    try:
        done = service.gapsweep(
            "submit", str(spec(paced, 3)), "--with", str(paced / "paced.py"), "--watch"
        )
    finally:
        service.ray.kill_node(2)
    assert done.returncode == 1
    words = " ".join(done.stderr.split())
    assert "failed: this machine has gapsweep" in words
    assert "has 9.9; install the same version on both" in words


def test_a_sweep_outlives_the_restart_of_the_head(service: Stack, paced: Path) -> None:
    sweep_id = service.submit(
        spec(paced, 14, pause=0.005), "--with", str(paced / "paced.py"), user="bob"
    )
    service.reach(sweep_id, 3)
    for node in (0, 1):
        service.ray.kill_node(node)
    service.ray.start_head(2)
    job = service.wait(sweep_id, JobState.SUCCEEDED, 120)
    assert job.attempt == 2
    whole(service, sweep_id, 14)
    causes = [t.cause for t in service.client().do(endpoints.sweep(sweep_id)).history]
    assert "the cluster was restarted; the sweep will continue" in causes


def test_bad_input_is_a_sentence(service: Stack, paced: Path) -> None:
    def says(*arguments: str, **env: str) -> str:
        done = service.gapsweep(*arguments, **env)
        assert done.returncode in (1, 2), done.stdout
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.split())

    assert "cannot be reached" in says("list", GAPSWEEP_SERVER="http://127.0.0.1:9")
    assert "write it as http://" in says("list", GAPSWEEP_SERVER="nonsense")
    assert "invalid token: it is unknown" in says("list", GAPSWEEP_TOKEN="gs_wrong")
    assert "missing server" in says("status", "x", GAPSWEEP_SERVER="")
    assert "set GAPSWEEP_TOKEN" in says("status", "x", GAPSWEEP_TOKEN="")
    assert "no sweep 'nothing'" in says("cancel", "nothing")
    missing = says("submit", str(spec(paced, 3)))
    assert "upload it: --with" in missing
    code = ("--with", str(paced / "paced.py"))
    wrong = says("submit", str(spec(paced, 3)), *code, "--set", "budget.trial=3")
    assert "budget.trial: unknown key; did you mean 'trials'?" in wrong
    viewer = says(
        "submit",
        str(spec(paced, 3)),
        "--with",
        str(paced / "paced.py"),
        GAPSWEEP_TOKEN=service.tokens["vic"],
    )
    assert "vic is a viewer; this requires role user" in viewer


def test_a_secret_is_nowhere(service: Stack) -> None:
    """After everything above: logs, artifacts, MLflow's database, Ray's own folder."""
    secrets = [SECRET.encode(), *(token.encode() for token in service.tokens.values())]
    secrets.append(b"gs_sweep_")  # drivers have deleted what they were given
    files = [p for f in (service.folder, service.ray.folder) for p in f.rglob("*") if p.is_file()]
    assert len(files) > 100
    for path in (p for p in files if not p.is_symlink()):
        content = path.read_bytes()
        assert not [s for s in secrets if s in content], path
