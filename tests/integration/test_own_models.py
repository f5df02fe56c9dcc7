"""Whole sweeps of usual trainings in the form in which people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gapsweep
import pytest

from service.study.records import TrialState

pytestmark = pytest.mark.usefixtures("without_plots")

FORMS, LAZY = "tests.unit.test_natural_forms", "tests.unit.test_lazy_data"
AUROC = {"path": "torchmetrics.classification:MulticlassAUROC", "num_classes": 2, "name": "auroc"}
WEIGHTED = {"path": "torch.nn:CrossEntropyLoss", "weight": [1.0, 3.0]}
OPTIMISATION = {
    "batch_size": 8,
    "accumulate": 2,
    "clip_norm": 1.0,
    "precision": "fp16",
    "schedule": "one_cycle",
    "warmup_epochs": 1,
    "optimizer": {"name": "rmsprop", "alpha": 0.9},
    "sampling": "balanced",
}

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "text, ids and mask": (f"{FORMS}:ids_and_mask", f"{FORMS}:TextClassifier", {}),
    "Hugging Face": (f"{FORMS}:encoded", f"{FORMS}:bert", {}),
    "ragged series, collate function": (f"{LAZY}:ragged", f"{LAZY}:Recurrent", {}),
    "segmentation": (f"{FORMS}:images", f"{FORMS}:segmentation", {}),
    "autoencoder": (f"{FORMS}:autoencoded", f"{FORMS}:autoencoder", {}),
    "two heads": (f"{FORMS}:two_targets", f"{FORMS}:TwoHeads", {"loss": f"{FORMS}:two_losses"}),
    "language model": (f"{FORMS}:language", f"{FORMS}:gpt2", {}),
    "categories and numbers": (f"{FORMS}:mixed_table", f"{FORMS}:Mixed", {}),
    "lazy images": (f"{LAZY}:viewed", f"{LAZY}:linear", {}),
    "streams": (f"{LAZY}:ready_streams", f"{LAZY}:linear", {}),
    "ready loaders": (f"{LAZY}:weighted", f"{LAZY}:linear", {}),
    "imbalance": (f"{LAZY}:arrays", f"{LAZY}:linear", {"loss": WEIGHTED, "metrics": [AUROC]}),
    "discriminative rates": (f"{LAZY}:arrays", "tests.tuning:Discriminative", {}),
    "one-cycle in optimizer.step": (f"{LAZY}:arrays", "tests.tuning:Wrapped", {}),
    "every key of the optimisation": (f"{LAZY}:arrays", f"{LAZY}:linear", OPTIMISATION),
    "one logit": (f"{FORMS}:sequences", f"{FORMS}:Squeezed", {}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("case", CASES)
def test_a_sweep_of_it_ends_with_an_answer(
    case: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSWEEP_HOME", str(home))
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    data, network, training = CASES[case]
    loader = {"collate": f"{LAZY}:pad"} if "collate" in case else {}
    objective = {"metric": "val/auroc"} if "metrics" in training else {"metric": "val/loss"}
    sweep = gapsweep.run(
        {
            "name": "mine",
            "data": {"name": data, "allow_overlap": True, "loader": loader},
            "trainable": network,
            "training": {"max_epochs": 2, "lr": 0.01, **training},
            "space": {
                "penalty": {"choice": ["none", "l2"]},
                "lambda": {"float": [0.001, 0.01], "when": {"penalty": "l2"}},
            },
            "objective": objective,
            "budget": {"trials": 3},
            "confirm": "off",
            "resources": {"executor": "local", "concurrent": 1},
        }
    )
    assert set(sweep.trials["state"]) == {TrialState.COMPLETE.value}
    assert sweep.trials["gap/loss"].notna().all()
    assert "confirm is off" in sweep.report().verdict
