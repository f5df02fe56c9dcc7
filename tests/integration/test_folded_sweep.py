"""A whole cross-validated sweep as a user has it: report, summary, MLflow, export, refit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

import gapsweep as public
import mlflow
import numpy as np
import pytest
import torch
import yaml
from scipy.stats import t as student
from sklearn.model_selection import StratifiedKFold
from torch.nn.functional import cross_entropy

from tests.commands import gapsweep
from trainables.config.data import BreastCancer
from trainables.data.datasets import open_rows
from trainables.data.rows import DrawnRows

pytestmark = pytest.mark.usefixtures("without_plots")

FOLDS = 4
SPEC: dict[str, Any] = {
    "name": "folded",
    "trainable": "trainables.models:MLP",
    "data": {"name": "breast_cancer", "seed": 1},
    "model": {"hidden": [4]},
    "training": {"max_epochs": 4, "lr": 0.05},
    "space": {"dropout": {"float": [0.0, 0.3]}},
    "search": {"folds": FOLDS, "fold_pruner": "none", "pruner": "none", "sampler": "random"},
    "budget": {"trials": 3},
    "confirm": "off",
    "resources": {"executor": "local"},
}


@dataclass(frozen=True)
class Ran:
    """What the command printed, its home, and the summary that it left."""

    output: str
    home: Path
    summary: dict[str, Any]

    @property
    def best(self) -> dict[str, Any]:
        found: dict[str, Any] = self.summary["best"]
        return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("folded")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    done = gapsweep("run", str(folder / "spec.yaml"), "--home", str(folder / "home"))
    assert done.returncode == 0, done.stderr
    (summary,) = (folder / "home" / "sweeps").glob("*/summary.json")
    return Ran(done.stdout, folder / "home", json.loads(summary.read_text()))


def list_values(trial: dict[str, Any], metric: str) -> list[float]:
    found = [fold[metric] for fold in trial["folds"]]
    assert len(found) == FOLDS
    return found


def test_the_summary_has_every_fold_and_the_means(ran: Ran) -> None:
    for name in ("baseline", "best"):
        trial = ran.summary[name]
        for metric in ("val/loss", "gap/loss", "epoch"):
            mean = fmean(list_values(trial, metric))
            assert trial["metrics"][metric] == pytest.approx(mean)


def test_the_report_says_that_values_are_means_and_shows_their_spread(ran: Ran) -> None:
    assert f"mean ± deviation over {FOLDS} folds (test: the first)" in ran.output
    spread = stdev(list_values(ran.best, "val/loss"))
    (line,) = [line for line in ran.output.splitlines() if line.startswith("val/loss ")]
    assert f"± {spread:.2g}" in line
    assert f"folds: {FOLDS} of the samples that are not the test's, stratified" in ran.output
    (page,) = (ran.home / "sweeps").glob("*/report.html")
    assert f"objective val/loss (min), mean over {FOLDS} folds" in page.read_text()


def test_the_unconfirmed_interval_is_that_of_nadeau_and_bengio(ran: Ran) -> None:
    ours, (control,) = list_values(ran.best, "val/loss"), [ran.summary["baseline"]]
    theirs = [fold["control/val/loss"] for fold in control["folds"]]
    differences = np.array(ours) - np.array(theirs)
    error = np.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * differences.var(ddof=1))
    half = student.ppf(0.975, FOLDS - 1) * error
    answer = ran.summary["answer"]
    assert answer["effect"] == pytest.approx(differences.mean(), abs=1e-9)
    assert answer["interval"] == pytest.approx(
        [differences.mean() - half, differences.mean() + half], abs=1e-9
    )
    assert student.ppf(0.975, FOLDS - 1) > 1.5 * NormalDist().inv_cdf(0.975)
    assert "the folds' own error" in ran.output or "is worse by" in ran.output


def test_mlflow_has_the_folds_as_steps(ran: Ran) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{ran.home / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'gapsweep'")
    number = ran.best["number"]
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`gapsweep.trial` = '{number}'")
    points = client.get_metric_history(run.info.run_id, "folds/val/loss")
    assert {p.step: p.value for p in points} == pytest.approx(
        dict(enumerate(list_values(ran.best, "val/loss"), start=1))
    )
    folds = client.get_metric_history(run.info.run_id, "fold")
    assert [p.value for p in sorted(folds, key=lambda p: p.step)] == sorted(p.value for p in folds)
    assert {p.value for p in folds} == set(range(1, FOLDS + 1))


def test_the_table_of_trials_has_the_metrics_of_every_fold(ran: Ran) -> None:
    table = public.open_sweep(home=ran.home).trials
    columns = [f"folds.{fold}.val/loss" for fold in range(1, FOLDS + 1)]
    row = table.loc[ran.best["number"]]
    assert list(row[columns]) == list_values(ran.best, "val/loss")
    assert f"folds.{FOLDS + 1}.val/loss" not in table


def test_the_best_network_is_that_of_the_first_fold(ran: Ran) -> None:
    rows = open_rows(BreastCancer(name="breast_cancer", seed=1))
    assert isinstance(rows, DrawnRows)
    sweep = public.open_sweep("latest", home=ran.home)
    network = sweep.best_model()
    raw, y = np.asarray(rows.pool.x), np.asarray(rows.pool.y)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=1).split(raw, y)
    losses = [
        cross_entropy(network(torch.tensor(raw[held])), torch.tensor(y[held])).item()
        for _, held in folds
    ]
    kept = list_values(ran.best, "val/loss")
    assert losses[0] == pytest.approx(kept[0], rel=1e-4)
    assert losses[1:] != pytest.approx(kept[1:], rel=1e-4)  # its training rows are among these


@pytest.mark.usefixtures("unverified")
def test_it_is_exported_and_refitted(ran: Ran, tmp_path: Path) -> None:
    home = ("--home", str(ran.home))
    exported = gapsweep("export", "latest", "--from", "best", "--to", str(tmp_path / "out"), *home)
    assert exported.returncode == 0, exported.stderr
    refit = gapsweep("refit", "latest", *home)
    assert refit.returncode == 0, refit.stderr


def test_more_trials_are_added(ran: Ran) -> None:
    done = gapsweep("resume", "latest", "--trials", "1", "--home", str(ran.home))
    assert done.returncode == 0, done.stderr
    assert "4 complete" in done.stdout


def test_a_sweep_that_is_asked_for_trials_has_no_folds(tmp_path: Path) -> None:
    with pytest.raises(
        public.SpecError, match="a loop that asks for its trials can train on folds"
    ):
        public.ask_tell(SPEC, home=tmp_path)
