"""The callback for training loops that call ``Trainer.fit`` of Lightning themselves."""

from __future__ import annotations

import signal
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gapsweep
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.loops import own_run, save_and_load
from tests.noisy_samples import VAL, N, X, Y
from trainables.errors import ContractError
from trainables.loops.trial import Trial
from trainables.run import EpochResult

Loop = Callable[[Trial], Any]
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def loaders(several: bool = False) -> Any:
    train = DataLoader(TensorDataset(X[:N], Y[:N]), 8, shuffle=True)
    val = DataLoader(TensorDataset(X[N : N + VAL], Y[N : N + VAL]), VAL)
    return (train, [val, val]) if several else (train, val)


def fitted(
    name: str = "Net", package: str = "lightning.pytorch", several: bool = False, **options: Any
) -> Loop:
    """A loop that fits a module of ``lightning_modules.py`` on loaders of its own."""

    def loop(trial: Trial) -> None:
        module = getattr(import_module("tests.lightning_modules"), name)()
        callback: Any = gapsweep.LightningCallback(trial)
        options.setdefault("max_epochs", trial.max_epochs)
        trainer = import_module(package).Trainer(callbacks=[callback], **QUIET, **options)
        trainer.fit(module, *loaders(several))

    return loop


def run(loop: Loop, **options: Any) -> list[EpochResult]:
    return list(own_run(loop, **options).train())


@pytest.mark.parametrize(
    ("package", "name"), [("lightning.pytorch", "Net"), ("pytorch_lightning", "build_older")]
)
def test_each_epoch_is_reported_with_both_sides_of_the_gap(package: str, name: str) -> None:
    results = run(fitted(name, package))
    assert [(r.epoch, r.done) for r in results] == [(1, False), (2, False), (3, False), (4, True)]
    metrics = results[-1].metrics
    assert metrics["gap/loss"] == pytest.approx(metrics["val/loss"] - metrics["train/loss"])


def test_the_sides_are_measured_on_the_loaders_of_the_fit() -> None:
    trained = own_run(fitted())
    *_, last = trained.train()
    module: Any = trained.model.eval()
    val = functional.cross_entropy(
        module(X[N : N + VAL]), Y[N : N + VAL], weight=torch.tensor([1.0, 3.0])
    )
    assert last.metrics["val/loss"] == pytest.approx(float(val.detach()))
    assert last.metrics["train_reported/loss"] != last.metrics["train/loss"]


def test_data_of_the_trial_are_read_as_pairs() -> None:
    def loop(trial: Trial) -> None:
        from lightning.pytorch import Trainer

        from tests.lightning_modules import Images

        callback: Any = gapsweep.LightningCallback(trial)
        trainer = Trainer(max_epochs=2, callbacks=[callback], **QUIET)
        trainer.fit(Images(), *trial.data.loaders(16))

    trained = own_run(loop)
    assert [r.epoch for r in trained.train()] == [1, 2, 2]  # the last one marks its end
    assert trained.uses_data


def test_the_trainer_is_stopped_in_order_and_what_follows_the_fit_runs() -> None:
    seen: list[Any] = []

    def loop(trial: Trial) -> None:
        from lightning.pytorch import Trainer

        from tests.lightning_modules import Net

        callback: Any = gapsweep.LightningCallback(trial)
        trainer = Trainer(max_epochs=100, callbacks=[callback], **QUIET)
        trainer.fit(Net(), *loaders())
        seen.append((trainer.current_epoch, trainer.state.finished))

    assert len(run(loop)) == 4
    assert seen == [(4, True)]


def test_a_pruned_trial_ends_its_fit() -> None:
    seen: list[bool] = []

    def loop(trial: Trial) -> None:
        fitted()(trial)
        seen.append(True)

    trained = own_run(loop)
    next(trained.train())
    trained.close()
    assert seen == [True]


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_a_fit_that_was_killed_goes_on_as_if_it_were_not(package: str, epochs: int) -> None:
    """Its loaders shuffle, and its dropout draws, what they would have drawn."""
    name = "Net" if package == "lightning.pytorch" else "build_older"
    loop, params = fitted(name, package), {"penalty": "l2", "lambda": 0.01}
    whole = run(loop, **params)
    first = own_run(loop, **params)
    results = first.train()
    before = [next(results) for _ in range(epochs)]
    second = own_run(loop, **params)
    second.load_state_dict(save_and_load(first.state_dict()))
    first.close()
    assert [*before, *second.train()] == whole


def test_regularisers_of_the_trial_act_in_the_fit() -> None:
    def weights(**params: Any) -> float:
        trained = own_run(fitted(), **params)
        list(trained.train())
        return float(dict(trained.model.named_parameters())["net.0.weight"].norm())

    assert weights(penalty="l2", **{"lambda": 10.0}) < 0.5 * weights()


def test_hooks_of_a_data_module_change_batches_before_the_trial_augments_them() -> None:
    def loop(trial: Trial) -> None:
        from lightning.pytorch import Trainer

        from tests.lightning_modules import Seeing, Shifting

        callback: Any = gapsweep.LightningCallback(trial)
        trainer = Trainer(max_epochs=1, callbacks=[callback], **QUIET)
        trainer.fit(Seeing(), datamodule=Shifting())

    trained = own_run(loop, input_noise=0.5)
    list(trained.train())
    seen: Any = trained.model.seen
    trained_on, measured_on = (torch.cat(seen[side]) for side in ("train", "val"))
    assert trained_on.mean() > 40
    assert {tuple(row) for row in measured_on.tolist()} <= {tuple(r) for r in (X + 50).tolist()}
    assert not {tuple(row) for row in trained_on.tolist()} & {tuple(r) for r in (X + 50).tolist()}


def test_epochs_without_a_validation_are_not_reported() -> None:
    results = run(fitted(check_val_every_n_epoch=2, max_epochs=6))
    assert [r.epoch for r in results] == [1, 2, 3, 3]


def test_without_a_validation_what_is_logged_is_reported() -> None:
    results = run(fitted("Unvalidated"), required={"val/made_up": "objective.metric"})
    assert set(results[0].metrics) == {"train_reported/loss", "val/made_up"}


def test_signals_stay_those_of_the_sweep() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    trained = own_run(fitted())
    next(trained.train())
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    trained.close()


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (fitted("LogsNothing"), r"LogsNothing\.validation_step logs nothing: call self\.log"),
        (fitted("Metrics", several=True), r"the fit has no single loader of validation samples"),
    ],
)
def test_what_cannot_be_reported_is_a_sentence(loop: Loop, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        run(loop)


def test_it_is_named_without_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for package in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    trial: Any = None
    with pytest.raises(ImportError, match=r"needs Lightning: pip install 'gapsweep\[lightning\]'"):
        gapsweep.LightningCallback(trial)
