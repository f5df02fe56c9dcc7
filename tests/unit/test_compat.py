"""What is used of Ray and Optuna beyond their documentation is still there, without starting Ray.

Where a test here fails, a new version of the library has moved something: read its function in
``service/cluster/compat.py`` or ``service/study/compat.py``, change it, and write down the version.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cloudpickle
import optuna
import pytest
import requests
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray._private.parameter import RayParams
from ray.exceptions import RayTaskError
from ray.job_submission import JobSubmissionClient
from ray.tune.experiment import Trial as TuneTrial

from service.cluster import compat as of_ray
from service.cluster import fork_server, start_worker
from service.spec.hyperband import PreparedHyperbandPruner
from service.study import compat as of_optuna
from service.study.journals import open_journal
from tests.versions import optuna_moved, ray_moved


class TestOptuna:
    def test_a_running_trial_can_be_gone_on_with(self, tmp_path: Path) -> None:
        path = tmp_path / "study.journal"
        first = optuna.create_study(storage=open_journal(path), study_name="one")
        asked = first.ask()
        asked.suggest_float("x", 0, 1)
        asked.report(0.5, 1)
        study = optuna.load_study(storage=open_journal(path), study_name="one")
        trial = of_optuna.reopen_trial(study, study.trials[0])
        trial.report(0.25, 2)
        study.tell(trial.number, 0.25)
        done = study.trials[0]
        assert done.state is TrialState.COMPLETE, optuna_moved("reopen_trial made another trial")
        assert done.intermediate_values == {1: 0.5, 2: 0.25}, optuna_moved(
            "a reopened trial does not report into the one that was running"
        )

    def test_a_journal_numbers_its_operations_as_it_did(self, tmp_path: Path) -> None:
        path = tmp_path / "study.journal"
        optuna.create_study(storage=open_journal(path), study_name="one").ask()
        entries = list(JournalFileBackend(str(path)).read_logs(0))
        made = [e["op_code"] for e in entries if e.get("study_name") == "one"]
        trials = [e["op_code"] for e in entries if "datetime_start" in e and "study_id" in e]
        assert made == [of_optuna.CREATE_STUDY], optuna_moved("CREATE_STUDY has another number")
        assert trials == [of_optuna.CREATE_TRIAL], optuna_moved("CREATE_TRIAL has another number")

    def test_a_journal_has_parameters_and_what_samplers_keep_in_known_entries(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "study.journal"
        storage = open_journal(path)
        study = optuna.create_study(
            storage=storage,
            study_name="one",
            sampler=optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1),
        )
        for _ in range(3):
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.suggest_float("y", 0, 1)
            study.tell(trial, 0.5)
        optuna.delete_study(study_name="one", storage=storage)
        entries = list(JournalFileBackend(str(path)).read_logs(0))
        drawn = {e["op_code"] for e in entries if e.get("param_name") == "x"}
        assert drawn == {of_optuna.SET_PARAM}, optuna_moved("a parameter is drawn otherwise")
        assert all("distribution" in e for e in entries if "param_name" in e)
        kept = [e for e in entries if e["op_code"] == of_optuna.SET_TRIAL_SYSTEM_ATTR]
        assert any(map(of_optuna.has_bounds_of_sampler, kept)), optuna_moved(
            "CmaEsSampler keeps its optimizer elsewhere"
        )
        assert entries[-1]["op_code"] == of_optuna.DELETE_STUDY, optuna_moved("DELETE_STUDY")
        assert entries[-1].keys() <= {"op_code", "worker_id", "study_id"}

    def test_hyperband_has_its_brackets_before_the_first_decision(self) -> None:
        pruner = PreparedHyperbandPruner(1, 9, 3)
        study = optuna.create_study(study_name="one", pruner=pruner)
        for value in range(20):
            study.add_trial(optuna.create_trial(value=float(value)))
        seen: list[list[int]] = []

        class Watching(optuna.samplers.RandomSampler):
            def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
                seen.append([t.number for t in study.get_trials(deepcopy=False)])

        study.sampler = Watching()
        trial = study.ask()
        assert 0 < len(seen[0]) < 20, optuna_moved("a sampler sees all brackets at first")
        trial.report(1.0, 1)
        trial.should_prune()
        of_optuna.reopen_trial(study, study.trials[20])
        assert seen[1:] == seen[:1], optuna_moved("Hyperband makes its brackets later")


class TestRay:
    def test_a_job_client_gives_up_after_its_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[float | None] = []

        def request(*_: Any, timeout: float | None = None, **__: Any) -> requests.Response:
            asked.append(timeout)
            raise requests.ConnectionError("nobody there")

        monkeypatch.setattr(requests, "request", request)
        monkeypatch.setattr(requests.Session, "request", request)
        with pytest.raises(Exception, match=r"nobody there|connect"):
            of_ray.make_job_client("http://127.0.0.1:9", 7.0).list_jobs()
        assert asked, ray_moved("JobSubmissionClient asks with something else than requests")
        assert set(asked) == {7.0}, ray_moved("_do_request does not hand its timeout to requests")
        assert hasattr(JobSubmissionClient, "_do_request"), ray_moved("there is no _do_request")

    def test_an_unknown_job_is_told_apart_by_its_text(self) -> None:
        found = RuntimeError("Request failed with status code 404: Job mine-1 does not exist.")
        assert of_ray.is_unknown_job(found)
        assert not of_ray.is_unknown_job(RuntimeError("Request failed with status code 500"))

    @pytest.mark.parametrize("log", ["", "one\n", 'a "b"\n\\n é λ\nend', "x" * 9 + "\ny" * 9])
    def test_the_end_of_a_jobs_log_is_read_without_its_beginning(self, log: str) -> None:
        whole = json.dumps({"logs": log}).encode()
        assert of_ray.decode_log_tail(whole, 1000) == log
        for left in range(len(whole)):
            tail = of_ray.decode_log_tail(whole[left:], 1000)
            assert log.endswith(tail[1:].partition("\n")[2])

    def test_of_a_huge_log_only_the_end_is_kept(self) -> None:
        log = json.dumps({"logs": "line\n" * 500_000 + "the cause"}).encode()

        class Answer:
            status_code = 200

            def __enter__(self) -> Answer:
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing to close."""

            def iter_content(self, size: int) -> Iterator[bytes]:
                yield from (log[i : i + size] for i in range(0, len(log), size))

        client: Any = SimpleNamespace(_do_request=lambda *_, **__: Answer())
        tracemalloc.start()
        tail = of_ray.read_log_tail(client, "mine-1", 2000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
        assert tail.endswith("line\nthe cause")
        assert len(tail) == 2000

    def test_tune_keeps_the_actor_of_a_trial_with_it(self) -> None:
        trial = TuneTrial("__fake", stub=True)
        actor = MagicMock()
        trial.set_ray_actor(actor)
        assert of_ray.get_actor(trial) is actor, ray_moved("Trial.temporary_state.ray_actor")

    def test_tune_names_the_file_of_an_error(self, tmp_path: Path) -> None:
        assert isinstance(
            inspect.getattr_static(TuneTrial, "pickled_error_file", None), property
        ), ray_moved("tune.experiment.Trial has no pickled_error_file")
        error = RayTaskError("step", "traceback", ValueError("no"))
        file = tmp_path / "error.pkl"
        file.write_bytes(cloudpickle.dumps(error))
        found = of_ray.read_error(SimpleNamespace(pickled_error_file=str(file)))
        assert found is not None
        assert str(found.cause) == "no"
        file.write_bytes(b"not a pickle")
        for other in (str(file), None):
            assert of_ray.read_error(SimpleNamespace(pickled_error_file=other)) is None


class TestEarlyProcesses:
    """What a process for one of Tune's actors is recognised by."""

    def test_tunes_actors_have_the_environment_of_processes_that_are_started_early(self) -> None:
        from ray.tune.execution import class_cache

        assert class_cache.DEFAULT_ENV_VARS == of_ray.TUNE_ENVIRONMENT, ray_moved(
            "Tune's actors have another environment"
        )
        missing = [
            name
            for name in class_cache.ENV_VARS_TO_PROPAGATE
            if not of_ray.PROPAGATED_TO_TUNE.fullmatch(name)
        ]
        assert not missing, ray_moved(f"Tune's actors take {missing} of the driver's environment")

    def test_a_node_has_the_starts_that_are_left_out(self) -> None:
        from ray._private.node import Node

        before = (Node.start_monitor, Node.start_log_monitor, Node.start_api_server)
        with of_ray._start_what_is_used(own=True):
            assert Node.start_monitor is not before[0]
        assert before == (Node.start_monitor, Node.start_log_monitor, Node.start_api_server)


class TestRayStart:
    """`ray start` by the hook that up and the image name."""

    @pytest.fixture(autouse=True)
    def _restored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the hook replaces is there again after each test."""
        from ray._private import services

        monkeypatch.setattr(services, "start_ray_process", services.start_ray_process)

    def test_the_dashboard_has_jobs_nodes_and_health_only(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ray._private import services
        from ray.dashboard.modules.job.job_head import JobHead
        from ray.dashboard.modules.node.node_head import NodeHead
        from ray.dashboard.modules.reporter.reporter_head import ReportHead
        from ray.dashboard.modules.state.state_head import StateHead

        used = ",".join(module.__name__ for module in (JobHead, NodeHead, ReportHead, StateHead))
        started: list[list[str]] = []
        monkeypatch.setattr(services, "get_node", services.get_node)
        monkeypatch.setattr(services, "start_raylet", services.start_raylet)
        monkeypatch.setattr(services, "start_ray_process", lambda words, *_: started.append(words))
        monkeypatch.setenv("RAY_enable_worker_prestart", "1")
        monkeypatch.setenv(start_worker.RAYS_OWN, "")
        of_ray.prepare_ray_start(RayParams(), True)
        services.start_ray_process(["dashboard.py"], "dashboard")
        services.start_ray_process(["dashboard.py", "--modules-to-load=None"], "dashboard")
        services.start_ray_process(["raylet"], "raylet")
        assert started == [
            ["dashboard.py", f"--modules-to-load={used}"],
            ["dashboard.py", "--modules-to-load=None"],
            ["raylet"],
        ]
        source = inspect.getsource(services.start_api_server)
        assert "start_ray_process(\n            command,\n" in source, ray_moved("start_api_server")
        assert "--modules-to-load=" in source, ray_moved("the option of dashboard.py")

    def test_the_client_server_and_unused_workers_are_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ray._private import services
        from ray._private.workers import setup_worker

        monkeypatch.setattr(services, "get_node", services.get_node)
        monkeypatch.setattr(services, "start_raylet", services.start_raylet)
        monkeypatch.setenv("RAY_enable_worker_prestart", "1")
        monkeypatch.setenv(start_worker.RAYS_OWN, "")
        parameters = RayParams(ray_client_server_port=10001)
        of_ray.prepare_ray_start(parameters, True)
        assert parameters.ray_client_server_port is None
        assert (parameters.include_log_monitor, parameters.no_monitor) == (False, True)
        scaled = RayParams(autoscaling_config="cluster.yaml")
        of_ray.prepare_ray_start(scaled, True)
        assert not scaled.no_monitor
        assert os.environ.items() >= of_ray.NO_IDLE_WORKERS.items()
        assert parameters.setup_worker_path == start_worker.__file__
        assert os.environ[start_worker.RAYS_OWN] == setup_worker.__file__
        assert of_ray.LOCAL_RAY["RAY_START_HOOK"].endswith(".prepare_ray_start")
        image = (Path(__file__).parents[2] / "docker" / "Dockerfile").read_text()
        assert f"RAY_START_HOOK={of_ray.LOCAL_RAY['RAY_START_HOOK']} " in image

    @pytest.mark.parametrize(
        ("words", "head", "asked"),
        [
            (["ray", "start", "--head", "--block"], True, [fork_server.OF_DRIVERS]),
            (["ray", "start", "--block"], False, [fork_server.OF_TABLES]),
            (["ray", "start"], False, []),
        ],
    )
    def test_a_node_whose_command_stays_forks_workers_and_a_head_drivers(
        self, monkeypatch: pytest.MonkeyPatch, words: list[str], head: bool, asked: list[object]
    ) -> None:
        from ray._private import services

        begun: list[object] = []
        monkeypatch.setattr(services, "get_node", lambda *_: "a node")
        monkeypatch.setattr(services, "start_raylet", services.start_raylet)
        monkeypatch.setattr(
            fork_server, "plan_fork_server", lambda *more: lambda: begun.append(more)
        )
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setenv("RAY_enable_worker_prestart", "1")
        monkeypatch.setenv(start_worker.RAYS_OWN, "")
        of_ray.prepare_ray_start(RayParams(), head)
        assert begun == []  # its imports would keep the node from starting in time
        assert services.get_node("address", "id") == "a node"
        assert begun == asked

    def test_a_node_that_starts_slowly_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ray._private import node, services

        answers = iter([RuntimeError("not yet"), RuntimeError("not yet"), "a node"])

        def get_node(address: str, node_id: str) -> str:
            answer = next(answers)
            if isinstance(answer, RuntimeError):
                raise answer
            return answer

        monkeypatch.setattr(services, "get_node", get_node)
        monkeypatch.setattr(services, "start_raylet", services.start_raylet)
        monkeypatch.setenv("RAY_enable_worker_prestart", "1")  # it is put back afterwards
        of_ray.prepare_ray_start(RayParams(), True)
        assert services.get_node("address", "id") == "a node"
        assert "ray._private.services.get_node(" in inspect.getsource(node.Node.__init__), (
            ray_moved("how a node waits for its start")
        )

    def test_a_node_whose_raylet_has_ended_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ray._private import node, services

        def refuse(*_: str) -> str:
            raise RuntimeError("not yet")

        ended = SimpleNamespace(process=SimpleNamespace(poll=lambda: 1))
        monkeypatch.setattr(services, "get_node", refuse)
        monkeypatch.setattr(services, "start_raylet", lambda: ended)
        monkeypatch.setattr(of_ray, "SLOW_START", 0.0)
        monkeypatch.setenv("RAY_enable_worker_prestart", "1")
        of_ray.prepare_ray_start(RayParams(), False)
        services.start_raylet()
        with pytest.raises(SystemExit, match="raylet ended while the node started"):
            services.get_node("address", "id")
        assert "process_info = ray._private.services.start_raylet(" in inspect.getsource(
            node.Node.start_raylet
        ), ray_moved("how a node starts its raylet")

    def test_ray_start_knows_the_hook_and_the_workers_ports(self) -> None:
        from ray._private import ray_constants
        from ray.scripts import scripts

        assert ray_constants.RAY_START_HOOK == "RAY_START_HOOK"
        assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in of_ray.LOCAL_RAY
        defaults = {o: p.default for p in scripts.start.params for o in p.opts}
        ports = of_ray.RAY_WORKER_PORTS
        assert defaults["--min-worker-port"] == ports.start
        assert defaults["--max-worker-port"] == ports.stop - 1


def test_the_directory_of_a_driver_is_not_on_its_workers_path() -> None:
    from ray.job_config import JobConfig

    plain, ours = JobConfig(), of_ray.make_job_config()
    for config in (plain, ours):
        config._py_driver_sys_path.extend(["/launch"])  # as ray.init does
    assert plain._get_proto_job_config().py_driver_sys_path == ["/launch"]
    assert ours._get_proto_job_config().py_driver_sys_path == []


def test_the_folders_of_a_bundle_are_found_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = "/tmp/ray/session_1/runtime_resources/py_modules_files/_ray_pkg_0"
    monkeypatch.setattr(sys, "path", ["/data", mine, f"{mine}/inside"])
    assert of_ray.find_bundle_folders() == (mine,)
