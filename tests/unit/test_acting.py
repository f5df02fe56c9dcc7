"""A part of a configuration without any effect on the kept weights is named."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.table import Table

from service.cli.remote_report import trials_table
from service.client.api_models import TrialOut
from service.client.driver_reports import TrialReport
from service.study.records import Role, Trial, TrialState
from tests.specs import parse
from tests.trainings import EACH, name, run, splits
from trainables.build import build_run
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.trial_parameters import list_parts
from trainables.data.batch import Batch
from trainables.loop import TrainingRun, train
from trainables.regularisers import mixing
from trainables.regularisers.base import Now, Regulariser
from trainables.regularisers.penalties import Penalty


def finish(made: TrainingRun) -> TrainingRun:
    for _ in train(made):
        pass
    return made


@pytest.mark.parametrize("options", EACH, ids=name)
def test_every_regulariser_that_changes_what_is_learned_has_acted(options: dict[str, Any]) -> None:
    assert finish(run(None, **options)).list_idle() == ()


ON_NOTHING: dict[str, Any] = {"penalised": {"exclude": ["*"]}}
IDLE: list[tuple[dict[str, Any], str]] = [
    ({"max_norm": 1e6}, "max_norm"),
    ({"random_erasing": 1e-9}, "random_erasing"),
    ({"augmentation": f"{__name__}:Identity"}, "augmentation"),
    ({"penalty": "l1", "lambda": 0.1, "training": ON_NOTHING}, "penalty"),
    ({"penalty": "l2", "lambda": 0.1, "training": {"penalised": {"scale": {"*": 0}}}}, "penalty"),
    ({"max_norm": 0.01, "training": ON_NOTHING}, "max_norm"),
    ({"penalty": "l2", "lambda": 1e-8}, "penalty"),  # 1 − 2·lr·λ is 1 in float32
    ({"penalty": f"{__name__}:Flat", "lambda": 1.0}, "penalty"),
    ({"swa": 0.5, "training": {"max_epochs": 1}}, "averaging"),
]


class Flat(Penalty):
    """The same for all weights, so that its gradient is 0."""

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        return (0 * weight).sum()


class Identity:
    """An augmentation that changes nothing."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(("options", "part"), IDLE, ids=lambda value: str(value)[:40])
def test_one_that_cannot_act_is_idle_after_a_resumption_too(
    options: dict[str, Any], part: str
) -> None:
    whole, half = run(None, **options), run(None, **options)
    assert finish(whole).list_idle() == (part,)
    half.load_state_dict(whole.state_dict())
    assert half.list_idle() == (part,)


@pytest.mark.parametrize(("key", "share"), [("mixup", 0.0), ("mixup", 1.0), ("cutmix", 1.0)])
def test_mixing_is_idle_where_every_share_is_0_or_1(
    key: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "_draw_beta", lambda _: torch.tensor(share))
    assert finish(run(None, **{key: 0.1})).list_idle() == ("mixing",)


SEEN = [{"max_norm": 0.3}, {"mixup": 0.5}, {"input_noise": 0.1}, {"penalty": "l2", "lambda": 0.1}]


@pytest.mark.parametrize("options", SEEN, ids=str)
def test_what_acted_before_a_resumption_is_remembered(options: dict[str, Any]) -> None:
    first, second = run(None, **options), run(None, **options)
    finish(first)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    assert second.list_idle() != ()
    second.load_state_dict(torch.load(buffer, weights_only=True))
    assert second.list_idle() == ()


@pytest.mark.parametrize(("epochs", "lr", "idle"), [(4, 1e-4, True), (40, 0.3, False)])
def test_early_stopping_acted_unless_the_last_epoch_is_kept(
    epochs: int, lr: float, idle: bool
) -> None:
    made = finish(run(2, {"max_epochs": epochs, "lr": lr}))
    assert (made.best_metrics()["epoch"] == epochs) is idle
    assert made.list_idle() == (("early_stopping",) if idle else ())
    assert finish(run(None, {"max_epochs": epochs, "lr": lr})).list_idle() == ()


class InPlace(Regulariser):
    """Changes the batch that it is given."""

    def on_batch(self, batch: Batch) -> Batch:
        batch.x.add_(0.5)
        return batch


class Nothing(Regulariser):
    """Returns the batch that it is given."""

    def before_epoch(self, now: Now) -> None:
        self.now = now

    def on_batch(self, batch: Batch) -> Batch:
        return batch


class OnSteps(Nothing):
    """May do something with the weights."""

    def after_step(self, now: Now) -> None:
        pass


class SaysNo(OnSteps):
    """Knows that it did nothing."""

    def acted(self, epoch: int) -> bool:
        return False


@pytest.mark.parametrize(
    ("kind", "idle"), [(InPlace, False), (Nothing, True), (OnSteps, False), (SaysNo, True)]
)
def test_users_own_regularisers_are_watched_too(kind: type[Regulariser], idle: bool) -> None:
    made = finish(with_own(kind))
    assert made.list_idle() == (("mine",) if idle else ())


def with_own(kind: type[Regulariser], **options: Any) -> TrainingRun:
    spec = parse(
        regularisers={"mine": {"name": f"{__name__}:{kind.__name__}"}},
        training={"max_epochs": 2},
        early_stopping="off",
    )
    return build_run(spec, {}, splits(), baseline=False, device="cpu", **options)


def test_a_users_own_regulariser_is_left_out_by_its_label() -> None:
    """The name of a part is the spec's label: a removal is of that."""
    assert [type(r) for r in with_own(InPlace).parts.regularisers.all] == [InPlace]
    assert with_own(InPlace, without=("mine",)).parts.regularisers.all == ()


def test_a_service_is_told_and_tells() -> None:
    idle = Trial(
        number=1,
        state=TrialState.COMPLETE,
        role=Role.SEARCH,
        params={"swa": 0.25},
        not_acting=("averaging",),
    )
    assert TrialReport.model_validate(idle).to_trial() == idle
    told = TrialReport.model_validate_json(TrialReport.model_validate(idle).model_dump_json())
    assert told.to_trial().not_acting == ("averaging",)
    assert "not_acting" in TrialOut.of(idle).model_dump()
    assert "no effect: averaging" in text_of(trials_table([TrialOut.of(idle)]))


def text_of(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # a StringIO


def test_batches_are_compared_only_until_one_was_changed() -> None:
    made = run(None, input_noise=0.1)
    next(train(made))
    hooks = made.parts.regularisers
    (watch,) = hooks._on_batch.values()
    assert watch.changed
    nan = run(None, augmentation=f"{__name__}:Identity")
    x = torch.full((4, 1, 4, 4), float("nan"))
    nan.parts.regularisers.on_batch(x, torch.zeros(4))
    (watch,) = nan.parts.regularisers._on_batch.values()
    assert not watch.changed


def test_a_regularised_batch_keeps_the_channels_last_that_images_have_on_a_gpu() -> None:
    hooks = run(None, random_erasing=0.5).parts.regularisers
    x = torch.rand(4, 3, 4, 4)
    made = hooks.on_batch(x.contiguous(memory_format=torch.channels_last), torch.zeros(4))
    assert made.x.is_contiguous(memory_format=torch.channels_last)
    assert hooks.on_batch(x, torch.zeros(4)).x.is_contiguous()


def test_a_neutral_value_is_no_part_that_could_be_idle() -> None:
    spec = parse(early_stopping=Patience().model_dump(), training={"max_epochs": 2})
    params = {"dropout": 0.0, "penalty": "none"}
    made = finish(build_run(spec, params, splits(), baseline=False, device="cpu"))
    assert set(made.list_idle()) >= {"dropout"}
    assert "dropout" not in list_parts(spec, params)
    assert read_regularisers(params)
