"""Mixing, smoothing and noise on batches; averages of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.losses import smooth_labels
from trainables.models import MLP
from trainables.regularisers.averaging import Averaging, build_averaging
from trainables.regularisers.base import Hooks, Now, Subject
from trainables.regularisers.mixing import cutmix, mixup

INFO = DataInfo((1, 8, 8), Task.CLASSIFICATION, 4, Kind.IMAGE)


def batch(size: int = 32) -> Batch:
    """Image ``i`` is ``i`` everywhere, so that what was mixed can be read from it."""
    y = torch.arange(size)
    return Batch(y.float().view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone(), y)


def test_mixup_mixes_inputs_and_targets_by_one_share() -> None:
    torch.manual_seed(0)
    mixed = mixup(batch(), 1.0)
    assert mixed.other_y is not None
    assert mixed.share is not None
    expected = mixed.share * mixed.y + (1 - mixed.share) * mixed.other_y
    assert torch.allclose(mixed.x[:, 0, 0, 0], expected)


def test_cutmix_takes_a_box_and_its_share_of_the_pixels() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        mixed = cutmix(batch(), 1.0)
        assert mixed.other_y is not None
        assert mixed.share is not None
        own = (mixed.x == mixed.y.view(-1, 1, 1, 1)).flatten(1).float().mean(1)
        moved = mixed.other_y != mixed.y
        assert torch.allclose(own[moved], mixed.share.expand(int(moved.sum())))


def test_a_mixed_step_is_the_mean_of_both_targets_losses() -> None:
    torch.manual_seed(0)
    trainable, x = MLP([5]), torch.rand(6, 1, 8, 8)
    trainable.setup(INFO, Training())
    model = trainable.build(INFO).eval()
    y, other, share = torch.arange(6) % 4, torch.arange(6).flip(0) % 4, torch.tensor(0.3)
    both = [trainable.step(model, Batch(x, t)) for t in (y, other)]
    mixed = trainable.step(model, Batch(x, y, other_y=other, share=share))
    assert float(mixed.detach()) == pytest.approx(float((0.3 * both[0] + 0.7 * both[1]).detach()))


def test_label_smoothing_is_torchs_own() -> None:
    torch.manual_seed(0)
    outputs, y = torch.randn(7, 4), torch.arange(7) % 4
    plain = nn.functional.cross_entropy(outputs, y, reduction="none")
    expected = nn.functional.cross_entropy(outputs, y, reduction="none", label_smoothing=0.2)
    assert torch.allclose(smooth_labels(plain, outputs, y, 0.2), expected)


def test_nothing_asked_for_leaves_a_batch_alone() -> None:
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    got = Hooks([]).on_batch(x, y)
    assert got.x is x
    assert (got.other_y, got.smoothing) == (None, 0.0)


def test_input_noise_has_the_deviation_asked_for() -> None:
    torch.manual_seed(0)
    hooks = Hooks([c.build() for c in read_regularisers({"input_noise": 0.3})])
    noisy = hooks.on_batch(torch.zeros(64, 1, 8, 8), torch.ones(64))
    assert float(noisy.x.std()) == pytest.approx(0.3, rel=0.1)


def weights(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


NOW = Now(lr=torch.tensor(0.1), lambda_factor=1.0, noise=torch.Generator())


def averaging(model: nn.Module, **options: float) -> Averaging:
    average = build_averaging(config.Averaging(**options))
    optimizer = torch.optim.SGD(model.parameters())
    average.attach(Subject(INFO, model, [], optimizer, Training(max_epochs=4)))
    return average


def averaged(average: Averaging) -> nn.Module:
    network = average.evaluated()
    assert network is not None
    return network


def test_swa_is_the_plain_mean_of_the_last_epochs() -> None:
    model = weights(0.0)
    average = averaging(model, swa=0.5)
    for epoch, value in enumerate((10.0, 20.0, 1.0, 3.0), start=1):
        nn.init.constant_(model.weight, value)
        average.after_step(NOW)
        average.after_epoch(epoch)
        assert (average.evaluated() is not None) == (epoch >= 3)
    assert float(next(averaged(average).parameters())) == 2.0


def test_ema_follows_with_a_decay_that_grows_to_what_was_asked() -> None:
    model = weights(1.0)
    average = averaging(model, ema=0.9)
    average.after_step(NOW)
    nn.init.constant_(model.weight, 2.0)
    average.after_step(NOW)
    assert float(next(averaged(average).parameters())) == pytest.approx(1.0 + (1 - 2 / 11))
    for _ in range(500):
        average.after_step(NOW)
    nn.init.constant_(model.weight, 3.0)
    average.after_step(NOW)
    assert float(next(averaged(average).parameters())) == pytest.approx(2.1, abs=1e-3)
