"""A ``LightningModule`` as what a sweep trains, by its own steps, optimisers and Trainer."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from service.base.errors import SpecError
from service.run.preflight import run_preflight
from service.spec.file import dump_spec
from service.spec.stored import parse_stored_spec
from tests.noisy_samples import VAL, N, X, Y, rows_of
from tests.specs import parse
from trainables.analysis.export import export_network
from trainables.analysis.export_subject import gather_subject
from trainables.analysis.held_out import list_val_inputs
from trainables.analysis.measure_anatomy import measure_anatomy
from trainables.data.datasets import load
from trainables.errors import ContractError, DivergedError
from trainables.loops.opening import open_run
from trainables.run import EpochResult, Run

MODULES = "tests.lightning_modules"
L2 = {"penalty": "l2", "lambda": 0.1}


def open_fit(
    name: str, params: Any = None, *, baseline: bool = False, data: str = "arrays", **changes: Any
) -> Run:
    changes = {"training": {"max_epochs": 3, "batch_size": 8}, "early_stopping": "off", **changes}
    spec = parse(data={"name": f"{MODULES}:{data}"}, trainable=f"{MODULES}:{name}", **changes)
    return open_run(spec, params or {}, load(spec.data), baseline=baseline, device="cpu")


def fit(name: str, params: Any = None, **options: Any) -> list[EpochResult]:
    return list(open_fit(name, params, **options).train())


def test_its_own_steps_and_optimizer_train_it() -> None:
    run = open_fit("Net")
    results = list(run.train())
    assert [r.done for r in results] == [False, False, True]
    assert set(results[0].metrics) >= {"train/loss", "val/loss", "gap/loss", "train_reported/loss"}
    calls: Any = run.model.calls
    assert calls.count("configure_optimizers") == 1
    assert calls.count("training_step") == 3 * N // 8
    assert calls.count("validation_step") >= 3
    assert run.model.hparams["lr"] == 0.05  # type: ignore[index, union-attr]  # a module's attribute


def test_both_sides_have_the_loss_of_its_validation_step() -> None:
    run = open_fit("Net")
    *_, last = run.train()
    run.model.eval()
    val = DataLoader(TensorDataset(X[N : N + VAL], Y[N : N + VAL]), batch_size=VAL)
    with torch.no_grad():
        (expected,) = (run.model.compute(batch) for batch in val)  # type: ignore[operator]  # a module's method
    assert last.metrics["val/loss"] == pytest.approx(float(expected), rel=1e-5)
    assert last.metrics["gap/loss"] == pytest.approx(
        last.metrics["val/loss"] - last.metrics["train/loss"], abs=1e-6
    )


def test_penalties_act_on_its_weights_and_its_decay_is_off_in_the_baseline() -> None:
    def final(params: Any, **options: Any) -> Tensor:
        run = open_fit("Net", params, **options)
        list(run.train())
        return torch.cat([p.detach().flatten() for p in run.model.parameters()])

    plain = final({})
    assert not torch.equal(final(L2), plain)
    assert final({**L2, "lambda": 10.0})[:32].norm() < 0.5 * plain[:32].norm()
    without = final({}, model={"weight_decay": 0.0})
    assert torch.equal(final({}, baseline=True), without)
    assert not torch.equal(plain, without)


def test_a_coupled_penalty_is_in_the_gradient_that_the_closure_computes() -> None:
    from tests.lightning_modules import Plain

    training = {"max_epochs": 1, "batch_size": N, "l2_update": "coupled"}
    plain = open_fit("Plain", training=training)
    run = open_fit("Plain", {**L2, "lambda": 0.5}, training=training)
    for one in (plain, run):
        list(one.train())
    weights = [dict(one.model.named_parameters())["net.0.weight"] for one in (plain, run)]
    start = Plain().net[0].weight
    # w − lr·(g + 2·λ·w) is the plain step less lr·2·λ·w
    assert torch.allclose(weights[1], weights[0] - 0.1 * 2 * 0.5 * start, atol=1e-6)


def test_dropout_of_the_space_is_set_in_it() -> None:
    run = open_fit("Net", {"dropout": 0.4})
    next(run.train())
    assert run.model.net[2].p == 0.4  # type: ignore[index, union-attr]  # a module's attribute


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("Net", {**L2, "dropout": 0.3, "augmentation": "noise", "augmentation_strength": 0.5}),
        ("Net", {"ema": 0.9}),
        ("Stepwise", {}),
        ("Manual", {}),
        ("Older", {}),
    ],
)
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_fit_that_was_killed_goes_on_as_if_it_were_not(
    name: str, params: Any, epochs: int
) -> None:
    whole = fit(name, params)
    first = open_fit(name, params)
    results = first.train()
    before = [next(results) for _ in range(epochs)]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = open_fit(name, params)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert [*before, *second.train()] == whole
    first.close()


def test_a_fit_goes_on_with_what_was_restored_and_not_anew() -> None:
    """The restored epochs must not be trained again."""
    first = open_fit("Stepwise")
    results = first.train()
    next(results), next(results)
    second = open_fit("Stepwise")
    second.load_state_dict(first.state_dict())
    (last,) = second.train()
    assert last.epoch == 3
    assert last.metrics["train_reported/steps"] == 3 * N // 8
    first.close()


def test_early_stopping_ends_a_fit_in_order() -> None:
    run = open_fit(
        "Ended",
        training={"max_epochs": 30, "batch_size": 8},
        early_stopping={"metric": "val/loss", "patience": 1},
    )
    results = list(run.train())
    assert len(results) < 30
    assert run.model.calls[-2:] == ["on_train_end", "on_fit_end"]  # type: ignore[index]  # a list
    assert run.best_metrics()["epoch"] < len(results)


def test_metrics_are_those_of_whole_sides() -> None:
    from torchmetrics.classification import MulticlassF1Score

    training = {"max_epochs": 1, "batch_size": 8, "eval_batch_size": 5}
    run = open_fit("Metrics", training=training)
    (result,) = run.train()
    found = result.metrics
    assert {"accuracy", "f1", "share", "batches"} <= {k[4:] for k in found if k.startswith("val/")}
    assert "val/now" not in found
    outputs: Tensor = run.model.eval()(X[N : N + VAL]).detach()
    y = Y[N : N + VAL]
    assert found["val/accuracy"] == pytest.approx(float((outputs.argmax(1) == y).float().mean()))
    assert found["val/f1"] == pytest.approx(float(MulticlassF1Score(2)(outputs, y)), abs=1e-6)
    assert found["val/loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), rel=1e-5)
    assert found["val/share"] == pytest.approx(float(y.float().mean()))
    assert found["val/batches"] == 5
    for name in ("accuracy", "f1"):  # higher is better: the gap is train − val
        expected = found[f"train/{name}"] - found[f"val/{name}"]
        assert found[f"gap/{name}"] == pytest.approx(expected)


@pytest.mark.parametrize(("name", "data"), [("Thrice", "thrice"), ("Named", "named")])
def test_batches_come_in_the_form_of_the_data(name: str, data: str) -> None:
    assert len(fit(name, data=data)) == 3


def test_augmentation_changes_batches_of_the_training_only() -> None:
    params = {"augmentation": "noise", "augmentation_strength": 1.0}
    run = open_fit("Looking", params)
    next(run.train())
    model: Any = run.model
    assert not any(set(rows) & rows_of(X) for rows in model.trained)
    assert all(set(rows) <= rows_of(X) for rows in model.validated)


def test_options_of_the_spec_reach_the_trainer() -> None:
    training = {"max_epochs": 2, "batch_size": 8, "steps_per_epoch": 3, "clip_norm": 0.5}
    run = open_fit("Net", training=training)
    results = list(run.train())
    trainer: Any = run.model.trainer
    assert (trainer.max_epochs, trainer.gradient_clip_val) == (2, 0.5)
    assert run.model.calls.count("training_step") == 6  # type: ignore[operator, union-attr]  # a list
    assert len(results) == 2


def test_it_writes_nothing_and_leaves_signals_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = open_fit("Net")
    results = run.train()
    next(results)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    list(results)
    assert not [*tmp_path.iterdir()]
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_ctrl_c_is_not_swallowed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit("Interrupted")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NoValidation", {}, r"NoValidation does not define validation_step: both sides of the"),
        ("NoOptimizers", {}, r"NoOptimizers does not define configure_optimizers: it makes the"),
        ("NoneReturned", {}, r"NoneReturned\.configure_optimizers returns no optimizer"),
        ("LogsNothing", {}, r"LogsNothing\.validation_step logs nothing: call self\.log\('val_"),
        ("LogsNoLoss", {}, r"validation_step logs accuracy, but no loss: call"),
        ("Asking", {}, r"AttributeError: 'NoneType' object has no attribute 'scale' \(lightning_m"),
        ("Diverging", {}, r"train/loss is nan in epoch 1"),
        (
            "Manual",
            {"params": L2},
            r"one optimizer, and Adam does not train net\.3\.weight; exc",
        ),
        ("Net", {"model": {"hidden": 3}}, r"Net takes no argument 'hidden'; valid: lr, weight_d"),
        ("Net", {"params": {"mixup": 0.4}}, r"training_step takes no mixed or smoothed targets"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ContractError, DivergedError), match=message):
        fit(name, **options)


KEYS = {"training": {"lr": 0.1, "compile": True}, "space": {"mixup": 0.2}}


def test_keys_that_the_module_decides_are_named_and_those_of_a_stored_spec_are_not() -> None:
    changes = {"data": {"name": f"{MODULES}:arrays"}, "trainable": f"{MODULES}:Net"}
    changes |= {"confirm": "off", "space": {"dropout": {"choice": [0.0, 0.1]}}}
    stored = parse_stored_spec(dump_spec(parse(**changes)), "it", Path())
    assert run_preflight(stored, "it").not_neutral == (
        "weight_decay 0.1 of the optimizer, in every trial but the baseline",
    )
    with pytest.raises(SpecError) as caught:
        run_preflight(parse(**{**changes, **KEYS}), "it")
    named = [problem.path for problem in caught.value.problems]
    assert named == ["training.lr", "training.compile", "space.mixup"]


def test_a_plateau_schedule_in_any_form_watches_the_loss() -> None:
    for form in ("pair", "mapping", "nested"):
        run = open_fit("Plateau", model={"form": form})
        list(run.train())
        (config,) = run.model.trainer.lr_scheduler_configs  # type: ignore[union-attr]  # a module's
        assert (config.monitor, config.scheduler.last_epoch) == ("val_loss", 3)


def test_a_function_that_returns_a_module_is_told_to_name_the_class() -> None:
    with pytest.raises(ContractError, match=r"build returned Net, .*: name its class as"):
        fit("build")


def test_a_module_without_a_forward_is_inspected_and_its_weights_are_exported(
    tmp_path: Path,
) -> None:
    spec = parse(data={"name": f"{MODULES}:arrays"}, trainable=f"{MODULES}:Headless")
    splits = load(spec.data)
    run = open_fit("Headless")
    assert len(list(run.train())) == 3
    anatomy = measure_anatomy(run.model, run.penalised, list_val_inputs(run, 10))
    assert [layer.units for layer in anatomy.layers] == [0, 0]
    subject = gather_subject(spec, {}, run, splits, None)
    written = export_network(subject, tmp_path, verify=False)
    assert 'missing the required "forward"' in written.reason
    assert (tmp_path / "weights.safetensors").exists()


def test_a_step_may_skip_its_batch() -> None:
    assert len(fit("Skipping")) == 3


@pytest.mark.parametrize("stored", [False, True])
def test_keys_that_cannot_act_are_named_also_of_a_stored_spec(stored: bool) -> None:
    def check(**training: Any) -> None:
        spec = parse(
            data={"name": f"{MODULES}:arrays", "test": 0},
            trainable=f"{MODULES}:Net",
            training={"max_epochs": 2, **training},
            confirm="off",
        )
        if stored:
            spec = parse_stored_spec(dump_spec(spec), "it", Path())
        run_preflight(spec, "it")

    check()
    check(clip_norm=1.0, accumulate=2)
    with pytest.raises(SpecError, match=r"training\.lr: .*configure_optimizers"):
        check(lr=0.5)
