"""A sweep of a Trainer of transformers, as a user writes it, killed inside of a training."""

from __future__ import annotations

import gc
import multiprocessing
from importlib import import_module
from pathlib import Path

import gapsweep
import pytest

from service.study.records import TrialState
from service.sweep.answer import Claim
from tests.asked import facts
from tests.patience import patience

pytestmark = pytest.mark.usefixtures("without_plots")

MODULE = """
import os
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback
from transformers import TrainingArguments


def splits():
    generator = torch.Generator().manual_seed(0)
    def part(count):
        ids = torch.randint(2, 40, (count, 6), generator=generator)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, (ids[:, 0] > 20).long()
    return {"train": part(64), "val": part(32), "test": part(40)}


class Die(TrainerCallback):
    def __init__(self, dropout):
        self.dropout = dropout

    def on_step_end(self, args, state, control, **_):
        if os.environ.get("DIE_AT") == f"{state.global_step} {self.dropout}":
            os._exit(9)


def make(trial):
    config = BertConfig(vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=6, num_labels=2)
    args = TrainingArguments(output_dir=str(trial.folder), per_device_train_batch_size=16,
                             learning_rate=5e-3, use_cpu=True, weight_decay=0.01)
    die = Die(trial.params["dropout"])
    return Trainer(BertForSequenceClassification(config), args, callbacks=[die])
"""
SPEC = {
    "name": "trainer",
    "trainable": "bert_trainer:make",
    "data": "bert_trainer:splits",
    "training": {"max_epochs": 3},
    "space": {
        "penalty": {"choice": ["none", "l2"]},
        "lambda": {"float": [1e-3, 1.0], "log": True, "when": {"penalty": "l2"}},
        "dropout": {"float": [0.0, 0.5]},
    },
    "search": {"sampler": "random", "pruner": "none"},
    "early_stopping": {"patience": 1},
    "budget": {"trials": 3},
    "confirm": {"top_k": 1, "trainings": 10, "replicates": 5},
    "resources": {"executor": "local"},
}


@pytest.fixture
def transformers() -> None:
    """A Trainer looks for garbage before each training, and not through what was frozen."""
    import_module("transformers.trainer")
    import_module("transformers.models.bert.modeling_bert")
    gc.freeze()


def _run_and_die(at: str) -> None:
    import os

    os.environ["DIE_AT"] = at
    gapsweep.run(SPEC, home="killed", progress=False)


@pytest.mark.usefixtures("transformers")
def test_a_sweep_that_is_killed_in_a_trainer_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bert_trainer.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    whole = gapsweep.run(SPEC, home="whole", progress=False)
    trials = whole.records()
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert whole.answer is not None
    assert whole.answer.claim is not Claim.UNCONFIRMED
    assert (whole.answer.on, whole.answer.metric) == ("one_split", "test/loss")
    assert any("weight_decay 0.01" in text for text in whole.summary.not_neutral)
    dropout = trials[2].params["dropout"]
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_run_and_die, args=(f"6 {dropout}",))  # in epoch 2
    process.start()
    process.join(patience(300))
    assert process.exitcode == 9
    killed = gapsweep.open_sweep(home="killed")
    assert killed.state == "interrupted"
    again = gapsweep.resume(killed, progress=False)
    assert [facts(t) for t in again.records()] == [facts(t) for t in trials]
    assert again.answer == whole.answer
