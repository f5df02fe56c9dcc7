"""A real sweep with an audit of its pruner, and with regularisers that have no effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gapsweep
import pytest
from mlflow import MlflowClient

from service.study.records import Role, TrialState
from service.tracking.run_tags import SEARCHED

pytestmark = pytest.mark.usefixtures("without_plots")

SPEC: dict[str, Any] = {
    "name": "audited",
    "trainable": "trainables.models:MLP",
    "data": "breast_cancer",
    "model": {"hidden": [16]},
    "training": {"max_epochs": 8, "lr": 3.0e-3},
    "space": {
        "dropout": {"float": [0.0, 0.8]},
        "max_norm": {"choice": [1000.0]},
        "swa": {"choice": [0.0, 0.25]},
    },
    "search": {"pruner": {"name": "successive_halving", "min_epochs": 2, "reduction_factor": 3}},
    "budget": {"trials": 14},
    "audit": {"trials": 4},
    "confirm": "off",
    "resources": {"executor": "local", "concurrent": 1},
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> gapsweep.Sweep:
    return gapsweep.run(SPEC, home=tmp_path_factory.mktemp("audit"), progress=False)


def test_pruned_trials_are_trained_again_as_they_were(audited: gapsweep.Sweep) -> None:
    trials = {t.number: t for t in audited.records()}
    audits = [t for t in trials.values() if t.role is Role.AUDIT]
    assert len(audits) == 4
    for trial in audits:
        assert trial.confirms is not None
        before = trials[trial.confirms]
        assert before.state is TrialState.PRUNED
        assert (trial.state, trial.params) == (TrialState.COMPLETE, before.params)
        assert len(trial.epochs) > len(before.epochs)
        for old, new in zip(before.epochs, trial.epochs, strict=False):
            assert old.metrics == new.metrics  # the same seed on the same samples


def test_the_summary_the_frame_and_the_report_say_so(audited: gapsweep.Sweep) -> None:
    summary = audited.summary
    assert (summary.audits, summary.replicates) == (4, 0)
    assert summary.trials.total == 14
    assert summary.answer is not None
    audit = summary.answer.audit
    assert audit is not None
    assert audit.overall.audited == 4
    assert audit.strong.pruned + audit.weak.pruned == summary.trials.pruned
    assert len(audit.better) == audit.overall.better
    frame = audited.trials
    assert (frame["role"] == "audit").sum() == 4
    complete = frame[frame["state"] == "complete"]
    baseline = complete[complete["role"] == "baseline"]
    assert set(baseline["not_acting"]) == {""}
    others = complete[complete["role"] != "baseline"]
    assert others["not_acting"].str.contains("max_norm").all()
    assert set(summary.not_acting) >= {"max_norm"}
    text = " ".join(str(audited.report()).split())
    assert "Audit of the pruner" in text
    assert "Parts without any effect on what a trial kept" in text
    assert "no effect: " in text
    stored = json.loads(audited.folder.summary.read_text(encoding="utf-8"))
    assert stored["answer"]["audit"]["overall"]["audited"] == 4


def test_mlflow_has_both(audited: gapsweep.Sweep) -> None:
    home: Path = audited.folder.path.parent.parent
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gapsweep")
    assert experiment is not None

    def search(condition: str) -> list[Any]:
        return list(client.search_runs([experiment.experiment_id], condition))

    assert len(search(SEARCHED)) == 15  # the sweep's own run, too
    runs = search("tags.`gapsweep.role` = 'audit'")
    assert len(runs) == 4
    assert all(r.data.tags["gapsweep.audited"].isdigit() for r in runs)
    assert all("audit of trial" in r.data.tags["mlflow.runName"] for r in runs)
    assert search("tags.`gapsweep.not_acting` LIKE '%max_norm%'")
    (parent,) = search("tags.`gapsweep.answer` != ''")
    assert parent.data.metrics["audit/audited"] == 4
    assert parent.data.metrics["audit/regret"] >= 0


def test_its_best_network_can_be_loaded(audited: gapsweep.Sweep) -> None:
    """Also where that is one of the audited."""
    assert audited.best is not None
    assert audited.best_model() is not None


def test_nothing_was_pruned_where_the_pruner_is_off(tmp_path: Path) -> None:
    changes = {"search": {"pruner": "none"}, "budget": {"trials": 3}}
    sweep = gapsweep.run({**SPEC, **changes}, home=tmp_path, progress=False)
    assert sweep.summary.audits == 0
    assert "The pruner ended no trial" in " ".join(str(sweep.report()).split())
