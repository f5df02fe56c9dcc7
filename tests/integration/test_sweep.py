"""A real sweep on a real Ray, read back with Optuna's and MLflow's own clients."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.commands import DIGITS, Ran, gapsweep, settings


@pytest.fixture(scope="module")
def study(ran: Ran) -> optuna.Study:
    backend = JournalFileBackend(str(ran.folder / "study.journal"))
    return optuna.load_study(study_name="digits-mlp", storage=JournalStorage(backend))


@pytest.fixture(scope="module")
def client(ran: Ran) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{ran.home / 'mlflow.db'}")


def _runs(client: mlflow.MlflowClient) -> list[mlflow.entities.Run]:
    experiment = client.get_experiment_by_name("gapsweep")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def test_every_trial_is_told_and_the_first_is_the_baseline(ran: Ran, study: optuna.Study) -> None:
    assert len(study.trials) == 10
    assert all(t.state.is_finished() for t in study.trials)
    first = study.trials[0]
    assert first.state is TrialState.COMPLETE
    assert first.user_attrs["role"] == "baseline"
    assert first.user_attrs["params"] == {
        "penalty": "none",
        "dropout": 0.0,
        "augmentation": "none",
        "stochastic_depth": 0.0,
    }
    assert len(first.intermediate_values) == 8


def test_pruned_trials_keep_their_intermediate_values(study: optuna.Study) -> None:
    pruned = [t for t in study.trials if t.state is TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        steps = sorted(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) < 8


def test_a_complete_trial_has_its_best_epochs_value(study: optuna.Study) -> None:
    complete = [t for t in study.trials if t.state is TrialState.COMPLETE and t.number]
    assert complete
    for trial in complete:
        assert trial.value == min(trial.intermediate_values.values())


def test_mlflow_has_a_parent_and_a_child_a_trial(
    ran: Ran, study: optuna.Study, client: mlflow.MlflowClient
) -> None:
    runs = _runs(client)
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert {r.data.tags["gapsweep.sweep_id"] for r in runs} == {ran.summary["sweep_id"]}
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parents[0].info.run_id}
    states = {int(r.data.tags["gapsweep.trial"]): r.data.tags["gapsweep.state"] for r in children}
    assert states == {t.number: t.state.name.lower() for t in study.trials}
    ran_on = {(r.data.tags["gapsweep.device"], r.data.tags["gapsweep.precision"]) for r in children}
    assert ran_on == {("CPU", "fp32")}
    assert parents[0].data.params["resources.workers"] == "1"
    assert parents[0].data.params["penalised"] == "1.weight, 4.weight, 7.weight"
    artifacts = {a.path for a in client.list_artifacts(parents[0].info.run_id)}
    assert {"report.html", "summary.json", "spec.yaml"} <= artifacts


def test_mlflow_has_every_epochs_gap(study: optuna.Study, client: mlflow.MlflowClient) -> None:
    children = [r for r in _runs(client) if "gapsweep.trial" in r.data.tags]
    assert len(children) == len(study.trials)
    for run in children:
        trial = study.trials[int(run.data.tags["gapsweep.trial"])]
        points = client.get_metric_history(run.info.run_id, "gap/loss")
        assert sorted(p.step for p in points) == sorted(trial.intermediate_values)


def test_only_the_finalists_read_the_test_set(ran: Ran, client: mlflow.MlflowClient) -> None:
    tested = {
        int(r.data.tags["gapsweep.trial"])
        for r in _runs(client)
        if "test/loss" in r.data.metrics and "gapsweep.trial" in r.data.tags
    }
    assert tested == {0, ran.summary["best"]["number"]}


def test_the_best_weights_are_a_plain_state_dict_and_the_rest_is_gone(ran: Ran) -> None:
    for finalist in (ran.summary["baseline"], ran.summary["best"]):
        weights = torch.load(ran.home / finalist["checkpoint"], weights_only=True)
        assert all(isinstance(w, torch.Tensor) for w in weights.values())
    kept = {int(p.name) for p in (ran.folder / "trials").iterdir()}
    assert kept == {0, ran.summary["best"]["number"]}


def test_the_page_stands_alone_and_list_and_report_show_the_sweep(ran: Ran) -> None:
    page = (ran.folder / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "src=" not in page
    assert "http://www" not in page.replace('xmlns="http://www', "").replace(
        'xmlns:xlink="http://www', ""
    )
    home = str(ran.home)
    assert ran.summary["sweep_id"] in gapsweep("list", "--home", home).stdout
    shown = gapsweep("report", "latest", "--home", home)
    assert shown.returncode == 0
    assert "Baseline, control and best" in shown.stdout


@pytest.mark.usefixtures("without_plots")
def test_one_at_a_time_the_same_seed_gives_the_same_trials(tmp_path: Path) -> None:
    """In this process; on Ray the trials are the same, as the executors' contract says."""
    changes = (
        "training.max_epochs=4",
        "budget.trials=6",
        "confirm={top_k: 1, trainings: 10}",
        "resources={executor: local}",
    )
    found, off = [], {"GAPSWEEP_MLFLOW_URI": "off"}
    for name in ("one", "two"):
        where = ("--home", str(tmp_path / name))
        done = gapsweep("run", str(DIGITS), "--json", *where, *settings(*changes), env=off)
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        folder = tmp_path / name / "sweeps" / summary["sweep_id"]
        lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        epochs = [json.loads(line) for line in lines]
        found.append(
            (
                summary["baseline"],
                summary["best"]["params"],
                summary["trials"],
                [(e["trial"], e["epoch"], e["metrics"]) for e in epochs],
            )
        )
    assert found[0][1:] == found[1][1:]
    assert found[0][0]["metrics"] == found[1][0]["metrics"]
