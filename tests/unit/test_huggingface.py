"""Trials whose loop is ``Trainer.train`` of transformers, with the real library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gapsweep
import pytest
from torch import Tensor, nn

from tests.loops import own_run, save_and_load
from tests.token_texts import Texts, Unlabelled
from tests.trainings import splits
from trainables.errors import ContractError
from trainables.loading import ModuleTrainable
from trainables.loops.huggingface.fit import find_trainer_loop, fit_returned
from trainables.loops.own import OwnRun
from trainables.loops.trial import Trial

if TYPE_CHECKING:
    from transformers import Trainer


def run_of(kind: type[Trainer] | None = None, settings: Any = None, **options: Any) -> OwnRun:
    """A training by a Trainer, before its first epoch."""
    from tests.huggingface_trainers import make

    def train(trial: Trial) -> None:
        assert fit_returned(trial, make(trial, kind, **options))

    return own_run(train, **(settings or {}))


def test_both_sides_of_the_gap_are_the_trainers_own_loss_and_metrics() -> None:
    from tests.huggingface_trainers import Doubled, count_right

    made: list[Trainer] = []

    class Kept(Doubled):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            made.append(self)

    run = run_of(Kept, compute_metrics=count_right, label_smoothing_factor=0.1)
    first = next(run.train())
    found = made[0].evaluate(Texts(30, 1))
    assert first.metrics["val/loss"] == pytest.approx(found["eval_loss"], rel=1e-5)
    assert first.metrics["val/accuracy"] == pytest.approx(found["eval_accuracy"])
    gap = first.metrics["val/loss"] - first.metrics["train/loss"]
    assert first.metrics["gap/loss"] == pytest.approx(gap)
    run.close()


def test_the_trial_ends_the_training_and_keeps_the_best_epochs_weights() -> None:
    from transformers import TrainerCallback

    from tests.huggingface_trainers import make

    steps: list[int] = []

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            steps.append(state.global_step)

    def train(trial: Trial) -> None:
        trainer = make(trial, num_train_epochs=50)
        trainer.add_callback(Count())
        fit_returned(trial, trainer)

    run = own_run(train, training={"max_epochs": 3})
    results = list(run.train())
    assert [r.epoch for r in results] == [1, 2, 3]
    assert steps[-1] == 3 * 4
    assert run.best_state.keys() == run.model.state_dict().keys()


def test_the_trials_penalties_and_dropout_act_and_the_baseline_has_no_weight_decay() -> None:
    norms = {}
    for lam in (0.0, 10.0):
        run = run_of(settings={"penalty": "l2", "lambda": lam})
        list(run.train())
        norms[lam] = sum(w.weight.square().sum().item() for w in run.penalised)
    assert norms[10.0] < 0.5 * norms[0.0]
    decayed = run_of(weight_decay=0.1)
    next(decayed.train())
    assert "weight_decay 0.1" in " ".join(decayed.decays)
    decayed.close()
    baseline = run_of(settings={"runs_to_end": True, "dropout": 0.0}, weight_decay=0.1)
    next(baseline.train())
    (regularised,) = baseline._regularised
    assert {g["weight_decay"] for g in regularised.optimizer.param_groups} == {0.0}
    assert {m.p for m in baseline.model.modules() if "Dropout" in type(m).__name__} == {0.0}
    baseline.close()


def test_an_interrupted_trial_goes_on_from_the_trainers_own_checkpoint(tmp_path: Path) -> None:
    whole = run_of(settings={"dropout": 0.3})
    undisturbed = [r.metrics for r in whole.train()]
    first = run_of(settings={"dropout": 0.3})
    first.folder = tmp_path
    results = first.train()
    before = [next(results).metrics, next(results).metrics]
    state = save_and_load(first.state_dict())
    first.close()
    assert (tmp_path / "checkpoint-8" / "trainer_state.json").exists()
    second = run_of(settings={"dropout": 0.3})
    second.folder = tmp_path
    second.load_state_dict(state)
    after = [r.metrics for r in second.train()]
    assert [*before, *after] == undisturbed


def test_the_callback_serves_those_who_train_themselves(tmp_path: Path) -> None:
    from tests.huggingface_trainers import make

    def train(trial: Trial) -> None:
        trainer = make(trial, num_train_epochs=4, disable_tqdm=True, save_strategy="no")
        callback = gapsweep.HuggingFaceCallback(trial)
        trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=callback.checkpoint)

    undisturbed = [r.metrics for r in own_run(train).train()]
    first = own_run(train)
    first.folder = tmp_path
    results = first.train()
    before = [next(results).metrics for _ in range(3)]
    state = save_and_load(first.state_dict())
    first.close()
    kept = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-8"]
    second = own_run(train)
    second.folder = tmp_path
    second.load_state_dict(state)
    assert [*before, *(r.metrics for r in second.train())] == undisturbed
    assert len(undisturbed) == 4


def test_a_model_with_arguments_is_trained_on_the_data_of_the_spec() -> None:
    from tests.huggingface_trainers import arguments

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(16, 2)

        def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.last(input_ids.flatten(1))
            found = {"logits": logits}
            if labels is not None:
                found["loss"] = nn.functional.cross_entropy(logits, labels)
            return found

    run = own_run(lambda trial: fit_returned(trial, (Flat(), arguments(trial))))
    first = next(run.train())
    assert run.uses_data
    assert run.measured
    assert {"train/loss", "val/loss", "gap/loss"} <= first.metrics.keys()
    run.close()


def test_a_function_that_is_annotated_to_return_a_trainer_is_a_loop() -> None:
    from tests.huggingface_trainers import Doubled, network

    def annotated(lr: float = 0.1) -> Trainer:
        raise NotImplementedError

    def named(lr: float = 0.1) -> "Trainer":  # noqa: UP037  # as with annotations of the future
        raise NotImplementedError

    for function in (annotated, named):
        found = find_trainer_loop("mine:make", function, {"lr": 0.2})
        assert found is not None
        assert found.select_arguments({"lr": 0.2}) == {"lr": 0.2}
        with pytest.raises(ContractError, match="learning_rate"):
            find_trainer_loop("mine:make", function, {"learning_rate": 0.2})
    assert find_trainer_loop("mine:net", network, {}) is None
    with pytest.raises(ContractError, match="is a class of trainers; name a function"):
        find_trainer_loop("mine:Doubled", Doubled, {})


def test_a_trainer_of_a_function_that_is_no_loop_says_how_to_make_it_one() -> None:
    from transformers import Trainer

    made = object.__new__(Trainer)
    loaded = ModuleTrainable(lambda: made, {})  # type: ignore[arg-type, return-value]  # the mistake
    with pytest.raises(ContractError, match="an argument `trial`, or annotate it `-> Trainer`"):
        loaded.build(splits().info)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_steps": 5}, "max_steps=5; a trial is trained in epochs"),
        ({"eval_dataset": None}, "has no single eval_dataset"),
        ({"eval_dataset": Unlabelled(30, 1)}, "computes no loss of a batch without labels"),
        (
            {"compute_metrics": lambda _: 0.5},
            r"compute_metrics returned float 0\.5; expected: a dict of numbers",
        ),
    ],
)
def test_each_mistake_is_a_sentence(options: dict[str, Any], words: str) -> None:
    run = run_of(**options)
    with pytest.raises(ContractError, match=words):
        next(run.train())
    run.close()


def test_a_checkpoint_that_is_gone_is_named(tmp_path: Path) -> None:
    first = run_of()
    first.folder = tmp_path / "one"
    next(first.train())
    state = save_and_load(first.state_dict())
    first.close()
    (tmp_path / "one").rename(tmp_path / "other")
    second = run_of()
    second.load_state_dict(state)
    with pytest.raises(ContractError, match=r"checkpoint-4 is gone; .*output_dir=trial\.folder"):
        next(second.train())


def test_the_callback_without_the_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'gapsweep\[huggingface\]'"):
        gapsweep.HuggingFaceCallback(None)  # type: ignore[arg-type]  # it is not looked at
