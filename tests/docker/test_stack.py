"""The whole service in Docker: the image, the stack as people use it, and what may befall it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.commands import REPOSITORY, settings
from tests.docking import IMAGE, Docked, asked, docker, file_of, tags
from tests.faults.attacks import Service, run_all
from tests.paced import CODE, EPOCHS, spec_of
from tests.patience import patience, wait_for

pytestmark = pytest.mark.docker

ONE_THREAD = ("-e", "OMP_NUM_THREADS=1")
DIGITS = "/app/search_spaces/sweeps/digits.yaml"
NET = """
from torch import nn


class Small(nn.Module):
    def __init__(self, outputs, width=32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Dropout(), nn.Linear(width, outputs)
        )

    def forward(self, x):
        return self.body(x)
"""
OWN_EPOCHS = 3
MNIST = {
    "name": "mnist-mine",
    "trainable": "small_net:Small",
    "data": {"name": "mnist5k"},
    "training": {"max_epochs": OWN_EPOCHS},
    "space": {"preset": "regularisation"},
    "search": {"pruner": "none"},
    "budget": {"trials": 4},
    "confirm": "off",
    "resources": {"concurrent": 2},
}

SPY = """
import os
import socket
import time
from pathlib import Path

from torch import nn

PLACE = Path("/data/spied")


def found():
    for root in ("/secrets", "/secrets-of", "/data", "/tmp", "/artifacts"):
        yield from (p for p in Path(root).rglob("*") if PLACE not in p.parents)
    for process in Path("/proc").glob("[0-9]*"):
        yield from (process / "environ", process / "cmdline")


def look():
    PLACE.mkdir(exist_ok=True)
    with (PLACE / f"{socket.gethostname()}-{os.getpid()}").open("wb") as file:
        file.write(repr(dict(os.environ)).encode())
        for path in found():
            try:
                if path.is_file() and path.stat().st_size < 10_000_000:
                    file.write(path.read_bytes())
            except OSError:
                continue
        try:
            socket.create_connection(("postgres", 5432), 5).close()
            file.write(b"PostgreSQL answers")
        except OSError:
            file.write(b"PostgreSQL is out of reach")


def wait_for_others():  # so that both workers train; the first to look is the driver
    deadline = time.monotonic() + 120
    found = sorted(PLACE.iterdir(), key=lambda path: path.stat().st_mtime)
    if not found[0].name.startswith(socket.gethostname()):
        while len({p.name.rpartition("-")[0] for p in PLACE.iterdir()}) < 3:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)


look()


class Small(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        wait_for_others()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))

    def forward(self, x):
        return self.body(x)
"""
SPYING = {
    **MNIST,
    "name": "spy",
    "trainable": "spy:Small",
    "data": {"name": "digits"},
    "training": {"max_epochs": 1},
    "space": {"input_noise": {"float": [0.0, 0.5]}},
    "budget": {"trials": 4},
}


def submitted(stack: Docked, folder: Path, trials: int, pause: float, concurrent: int = 4) -> str:
    """A paced sweep's id."""
    code = file_of(folder, "paced.py", CODE)
    spec = file_of(folder, "paced.yaml", yaml.safe_dump(spec_of(trials, pause, concurrent)))
    said = stack.gapsweep("submit", str(spec), "--with", str(code), "--json")
    return str(json.loads(said)["sweep_id"])


def sweeps(stack: Docked) -> list[str]:
    """Their ids, the newest first."""
    return [s["sweep_id"] for s in json.loads(stack.gapsweep("list", "--json"))["items"]]


def listed(stack: Docked) -> list[dict[str, object]]:
    """All that the list of sweeps has, but for sizes: the server measures them when it has time."""
    found = json.loads(stack.gapsweep("list", "--json"))["items"]
    return [{key: value for key, value in sweep.items() if key != "size"} for sweep in found]


def logged(stack: Docked, sweep_id: str) -> dict[str, tuple[object, ...]]:
    """All that MLflow has of a sweep's runs, by their ids; it returns them in no order."""
    found = {}
    for run in stack.runs(sweep_id):
        kinds = [run["data"].get(kind, []) for kind in ("metrics", "params", "tags")]
        parts = (sorted(map(json.dumps, kind)) for kind in kinds)
        found[run["info"]["run_id"]] = (run["info"], *parts)
    return found


def states(stack: Docked) -> dict[str, str]:
    """The state of each sweep."""
    found = json.loads(stack.gapsweep("list", "--json"))["items"]
    return {sweep["sweep_id"]: sweep["state"] for sweep in found}


def status(stack: Docked, sweep_id: str) -> dict[str, object]:
    found = json.loads(stack.gapsweep("status", sweep_id, "--json"))
    assert isinstance(found, dict)
    return found


def every_trial_is_there_once(stack: Docked, sweep_id: str, trials: int, epochs: int) -> None:
    """In the store and in MLflow, whatever happened meanwhile."""
    told = json.loads(stack.gapsweep("trials", sweep_id, "--json"))
    assert [(t["number"], t["state"]) for t in told] == [(n, "complete") for n in range(trials)]
    parent, *children = stack.runs(sweep_id)
    assert "gapsweep.trial" not in tags(parent)
    assert [int(tags(r)["gapsweep.trial"]) for r in children] == list(range(trials))
    for run in (parent, *children):
        assert run["info"]["status"] == "FINISHED"
    for run in children:
        assert steps_of(stack, run["info"]["run_id"], "gap/loss") == list(range(1, epochs + 1))


def steps_of(stack: Docked, run_id: str, metric: str) -> list[int]:
    path = f"metrics/get-history?run_id={run_id}&metric_key={metric}"
    found = stack.asked_of_mlflow(path)
    return [int(m.get("step", 0)) for m in found["metrics"]]


@dataclass(frozen=True)
class OwnSweep:
    """A sweep of a user's own module, which has ended, and what was said of it."""

    sweep_id: str
    said: str

    def is_whole(self, stack: Docked) -> None:
        every_trial_is_there_once(stack, self.sweep_id, 4, OWN_EPOCHS)


@pytest.fixture(scope="module")
def own(stack: Docked, tmp_path_factory: pytest.TempPathFactory) -> OwnSweep:
    """For all tests that only look at one."""
    folder = tmp_path_factory.mktemp("own")
    code = file_of(folder, "small_net.py", NET)
    spec = file_of(folder, "mine.yaml", yaml.safe_dump(MNIST))
    said = stack.gapsweep("submit", str(spec), "--with", str(code), "--watch")
    return OwnSweep(sweeps(stack)[0], said)


class TestTheImage:
    @pytest.fixture(autouse=True)
    def _built(self, stack: Docked) -> None:
        """By the stack."""

    def test_is_small_and_says_what_it_is(self) -> None:
        (found,) = json.loads(docker("image", "inspect", IMAGE).stdout)
        assert found["Size"] < 2.5e9
        assert found["Config"]["Labels"]["org.opencontainers.image.title"] == "gapsweep"
        assert found["Config"]["Healthcheck"]["Test"] == ["CMD", "healthy"]
        assert found["Config"]["Entrypoint"][0] == "tini"

    def test_has_no_compiler_and_no_secret(self) -> None:
        look = "for c in cc gcc g++ clang make; do command -v $c; done; "
        look += "find /secrets /secrets-of -type f"
        assert docker("run", "--rm", IMAGE, "sh", "-c", look, check=False).stdout == ""
        layers = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).stdout
        assert not [w for w in ("PASSWORD", "TOKEN=", "gs_") if w in layers]

    def test_is_never_root(self) -> None:
        look = "id -u; sed -n 's/^Cap[EB].*:.//p' /proc/self/status"
        user, *held = docker("run", "--rm", IMAGE, "sh", "-c", look).stdout.split()
        assert (user, set(held)) == ("1000", {"0" * 16})

    def test_runs_one_sweep_with_nothing_else_as_who_owns_the_folder(self, tmp_path: Path) -> None:
        os.chown(tmp_path, 4321, 4321)
        done = docker(
            *("run", "--rm", "--read-only", "--tmpfs", "/tmp:exec", *ONE_THREAD),
            *("-v", f"{tmp_path}:/data", IMAGE, "run", DIGITS, "--json"),
            *settings("budget.trials=2", "training.max_epochs=2", "confirm=off"),
        )
        sweep = tmp_path / "sweeps" / json.loads(done.stdout)["sweep_id"]
        assert (sweep / "report.html").stat().st_uid == 4321

    def test_a_signal_ends_a_sweep_in_order(self, tmp_path: Path) -> None:
        name, made_by_docker = "gapsweep-tests-one", tmp_path / "out"
        volume = ("-v", f"{made_by_docker}:/data")
        docker("run", "-d", "--name", name, *ONE_THREAD, *volume, IMAGE, "run", DIGITS)
        try:
            wait_for(lambda: bool(list(made_by_docker.glob("sweeps/*/history.jsonl"))), 60)
            began = time.monotonic()
            docker("stop", "-t", "60", name)
            assert time.monotonic() - began < patience(10)
            assert docker("inspect", "-f", "{{.State.ExitCode}}", name).stdout.strip() == "130"
        finally:
            docker("rm", "-f", name)
        (summary,) = made_by_docker.glob("sweeps/*/summary.json")
        assert json.loads(summary.read_text())["state"] == "interrupted"
        assert summary.stat().st_uid == 1000


class TestTheStack:
    def test_runs_a_sweep_of_a_users_own_module_from_the_hosts_command_line(
        self, stack: Docked, own: OwnSweep
    ) -> None:
        assert "succeeded: 4 complete" in own.said
        own.is_whole(stack)
        parent = stack.runs(own.sweep_id)[0]["info"]
        assert parent["artifact_uri"].startswith("mlflow-artifacts:/")
        path = f"{stack.experiment()}/{parent['run_id']}/artifacts"
        token = f"Bearer {stack.known_token}"
        url = f"{stack.mlflow}/api/2.0/mlflow-artifacts/artifacts?path={path}"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            asked(url)
        listed = asked(url, Authorization=token)
        names = {f["path"] for f in listed["files"]}
        assert names == {"report.html", "robustness.png", "spec.yaml", "summary.json"}

    def test_its_parts_are_locked_in(self, stack: Docked) -> None:
        for service in ("api", "mlflow", "ray-head", "ray-worker"):
            (found,) = json.loads(docker("inspect", stack.container(service)).stdout)
            host = found["HostConfig"]
            assert found["Config"]["User"] == "1000:1000"
            assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
            assert host["Memory"] > 0
            bindings = [b["HostIp"] for ports in host["PortBindings"].values() for b in ports]
            assert set(bindings) <= {"127.0.0.1"}
            assert bool(bindings) == (service in ("api", "mlflow"))

    def test_one_more_worker_takes_one_more_trial(self, stack: Docked, tmp_path: Path) -> None:
        sweep_id = submitted(stack, tmp_path, trials=40, pause=0.05)

        def running(count: int) -> Callable[[], bool]:
            def there() -> bool:
                progress = status(stack, sweep_id)["progress"]
                assert isinstance(progress, dict)
                return progress.get("running") == count

            return there

        wait_for(running(1), 60)
        stack.compose("up", "-d", "--no-recreate", "--scale", "ray-worker=2")
        wait_for(running(2), 60)
        stack.gapsweep("cancel", sweep_id)
        wait_for(lambda: status(stack, sweep_id)["state"] == "cancelled", 60)

    def test_users_code_finds_no_password_but_rays(self, stack: Docked, tmp_path: Path) -> None:
        """In environments, files and processes of the containers in which it runs."""
        stack.up()  # both workers
        code = file_of(tmp_path, "spy.py", SPY)
        spec = file_of(tmp_path, "spy.yaml", yaml.safe_dump(SPYING))
        said = stack.gapsweep("submit", str(spec), "--with", str(code), "--watch")
        assert "succeeded: 4 complete" in said
        keeper = ("run", "--rm", "--no-deps", "-T", "keeper", "sh", "-c")
        lines = stack.compose(*keeper, "cat /secrets/env").stdout.splitlines()
        secrets = dict(line.split("=", 1) for line in lines if "=" in line)
        assert len(secrets) == 5

        def spied(text: str) -> set[str]:
            """Whose finds have a text: hosts, which are containers."""
            found = stack.inside("api", "grep", "-rlaF", "-e", text, "/data/spied", check=False)
            return set(found.stdout.split())

        everybody = spied(secrets.pop("RAY_AUTH_TOKEN"))
        assert len({name.rpartition("-")[0] for name in everybody}) == 3  # head and both workers
        assert spied("PostgreSQL is out of reach") == everybody
        for name, secret in secrets.items():
            assert spied(secret) == set(), name
        assert spied("GAPSWEEP_DATABASE_URL=") == set()

    def test_every_attack_is_refused(self, stack: Docked) -> None:
        add = ("entry", "users", "add")
        user, viewer = (
            stack.inside("api", *add, f"attacking-{role}", "--role", role).stdout.split()[-1]
            for role in ("user", "viewer")
        )
        found = run_all(Service(stack.api, stack.mlflow, user, viewer), "/data")
        assert {name: achieved for name, achieved in found.items() if achieved} == {}

    def test_mlflow_answers_to_its_own_names_only(self, stack: Docked) -> None:
        for host, status_code in (("localhost:5000", 200), ("evil.example", 403)):
            try:
                asked(
                    f"{stack.mlflow}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
                    Host=host,
                    Authorization=f"Bearer {stack.known_token}",
                )
                found = 200
            except urllib.error.HTTPError as error:
                found = error.code
            assert found == status_code, host

    def test_a_killed_worker_and_restarts_lose_nothing(self, stack: Docked, tmp_path: Path) -> None:
        sweep_id = submitted(stack, tmp_path, trials=10, pause=0.02)
        wait_for(lambda: len(json.loads(stack.gapsweep("trials", sweep_id, "--json"))) > 2, 60)
        docker("kill", stack.container("ray-worker"))
        stack.compose("restart", "mlflow", "api")
        stack.up()  # the worker again
        said = stack.gapsweep("watch", sweep_id)
        assert "succeeded: 10 complete" in said
        every_trial_is_there_once(stack, sweep_id, 10, EPOCHS)

    def test_a_backup_brings_back_what_was_destroyed(
        self, stack: Docked, own: OwnSweep, tmp_path: Path
    ) -> None:
        """From the file alone; a sweep that ran when it was taken continues to its end."""
        known = states(stack)
        assert known[own.sweep_id] == "succeeded"
        running = submitted(stack, tmp_path, 8, 0.08, concurrent=2)
        wait_for(lambda: len(stack.runs(running)) > 2, 120)
        best = stack.gapsweep("download", own.sweep_id, "--to", str(tmp_path / "before.pt"))
        file = tmp_path / "backup.tar.gz"
        done = stack.script("backup", str(file))
        assert done.returncode == 0, done.stderr
        assert states(stack)[running] == "running", "it had ended before the backup"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        refused = stack.script("restore", str(file))
        assert refused.returncode == 2
        assert "there is a stack with data already" in refused.stderr
        stack.down("-v")
        done = stack.script("restore", str(file))
        assert done.returncode == 0, done.stderr
        stack.up(workers=1)
        assert stack.token == stack.known_token
        assert states(stack).items() >= known.items()
        own.is_whole(stack)
        stack.gapsweep("download", own.sweep_id, "--to", str(tmp_path / "after.pt"))
        assert best
        assert (tmp_path / "before.pt").read_bytes() == (tmp_path / "after.pt").read_bytes()
        wait_for(lambda: states(stack)[running] in ("succeeded", "failed"), 300)
        every_trial_is_there_once(stack, running, 8, EPOCHS)

    def test_signals_end_every_part_in_time_and_up_again_has_everything(
        self, stack: Docked, own: OwnSweep
    ) -> None:
        before = (stack.known_token, listed(stack), logged(stack, own.sweep_id))
        assert len(before[-1]) == 1 + 4
        for service in ("api", "mlflow", "ray-worker", "ray-head", "postgres"):
            container = stack.container(service)
            began = time.monotonic()
            docker("stop", "-t", "60", container)
            assert time.monotonic() - began < patience(10), service
        stack.down()
        stack.up(workers=0)
        assert (stack.token, listed(stack), logged(stack, own.sweep_id)) == before

    def test_optunas_dashboard_shows_the_studies(self, stack: Docked) -> None:
        stack.compose("--profile", "optuna", "up", "-d", "--no-recreate", "optuna")
        try:
            wait_for(lambda: bool(studies(stack)), 60)
            begun = {s for s in sweeps(stack) if status(stack, s)["state"] != "failed"}
            assert begun <= studies(stack) <= set(sweeps(stack))
        finally:
            stack.compose("--profile", "optuna", "rm", "-s", "-f", "optuna")


def test_the_overlay_gives_the_workers_gpus_and_the_build_for_them() -> None:
    overlay = str(REPOSITORY / "docker" / "compose.gpu.yaml")
    said = Docked().compose("-f", overlay, "--profile", "proxy", "config").stdout
    services = yaml.safe_load(said)["services"]
    (device,) = services["ray-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert services["keys"]["build"]["args"]["TORCH_INDEX"] == ""
    assert "deploy" not in services["ray-head"]


def studies(stack: Docked) -> set[str]:
    try:
        found = asked(f"{stack.optuna}/api/studies")["study_summaries"]
    except OSError:
        return set()
    return {s["study_name"] for s in found}


class TestBadInput:
    def test_no_docker_and_no_engine(self, tmp_path: Path) -> None:
        for name in ("bash", "dirname", "cat", "sed", "date"):
            (tmp_path / name).symlink_to(f"/usr/bin/{name}")
        for script in ("check", "backup", "restore"):
            words = [str(REPOSITORY / "docker" / script), "/dev/null"][: 1 + (script != "check")]
            for environment, said in (
                ({"PATH": str(tmp_path)}, "there is no Docker here; https://docs.docker.com"),
                (
                    {"PATH": os.environ["PATH"], "DOCKER_HOST": "tcp://127.0.0.1:1"},
                    "Docker's engine does not answer",
                ),
            ):
                words_of = [*words[:1], str(tmp_path / "b.tar.gz")] if script == "backup" else words
                done = subprocess.run(words_of, env=environment, capture_output=True, text=True)
                assert (done.returncode, said in done.stderr) == (2, True), (script, done.stderr)
                assert len(done.stderr.splitlines()) == 1

    def test_ports_that_are_taken(self, stack: Docked) -> None:
        assert stack.script("check").returncode == 0
        environment = {**stack.environment, "COMPOSE_PROJECT_NAME": "gapsweep-another"}
        done = subprocess.run(
            [str(REPOSITORY / "docker" / "check")], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 2
        for name in ("API_PORT", "MLFLOW_PORT"):
            said = (
                f"127.0.0.1:{environment[name]} is taken by another program; set {name} in docker"
            )
            assert said in done.stderr

    def test_too_little_shared_memory(self, stack: Docked) -> None:
        small = docker("run", "--rm", "--shm-size=64m", IMAGE, "ray-node", "head", check=False)
        assert small.returncode == 2
        assert "/dev/shm has 64 MB and Ray's object store takes 256 MB; give" in small.stderr
        stack.environment["RAY_SHM"] = "100m"
        done = stack.script("check")
        del stack.environment["RAY_SHM"]
        assert (done.returncode, "give RAY_SHM as much" in done.stderr) == (2, True)

    def test_no_nvidia_runtime(self, stack: Docked) -> None:
        if "nvidia" in docker("info", "--format", "{{json .Runtimes}}").stdout:
            pytest.skip("this machine has the NVIDIA runtime")
        done = stack.script("check", "--gpu")
        assert (done.returncode, "Docker has no NVIDIA runtime" in done.stderr) == (2, True)

    def test_an_env_file_that_is_not_there(self, stack: Docked) -> None:
        missing = docker("run", "--rm", "-e", "SECRETS=RAY_AUTH_TOKEN", IMAGE, check=False)
        assert missing.returncode == 2
        assert "/secrets/env, which holds the stack's passwords, is not there" in missing.stderr

    def test_a_volume_of_another_postgresql(self, stack: Docked) -> None:
        (found,) = json.loads(docker("inspect", stack.container("postgres")).stdout)
        image = found["Config"]["Image"]
        old = "mkdir -p $PGDATA; echo 13 >$PGDATA/PG_VERSION; mkdir /secrets; touch /secrets/env"
        script = f"{REPOSITORY}/docker/postgres:/postgres:ro"
        words = ("run", "--rm", "-v", script, "--entrypoint", "sh", image, "-c")
        done = docker(*words, f"{old}; exec sh /postgres", check=False)
        assert done.returncode == 2
        assert "was written by PostgreSQL 13, this is 15: set POSTGRES_IMAGE" in done.stderr

    def test_a_database_of_a_newer_gapsweep(self, stack: Docked) -> None:
        def psql(statement: str) -> None:
            words = ("psql", "-q", "-U", "gapsweep", "-d", "gapsweep", "-c", statement)
            stack.inside("postgres", *words)

        psql("UPDATE alembic_version SET version_num = '9999'")
        try:
            done = stack.compose("run", "--rm", "-T", "setup", check=False)
        finally:
            psql("UPDATE alembic_version SET version_num = '0002'")
        assert done.returncode != 0
        assert "a newer version of gapsweep" in done.stderr
        assert "Traceback" not in done.stderr

    def test_what_is_no_backup(self, stack: Docked, tmp_path: Path) -> None:
        for file, said in (
            (tmp_path / "nothing", "is not there, or cannot be read"),
            (file_of(tmp_path, "words.tar.gz", "no archive"), "is not a backup that docker/backup"),
        ):
            done = stack.script("restore", str(file))
            assert (done.returncode, said in done.stderr) == (2, True)
        there = file_of(tmp_path, "there.tar.gz", "")
        assert "is there already; name another" in stack.script("backup", str(there)).stderr
