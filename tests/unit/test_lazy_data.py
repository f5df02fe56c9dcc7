"""Data that are read while a training needs them: datasets, streams and ready loaders."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from service.base.errors import SpecError
from service.run.preflight import run_preflight
from service.spec.file import dump_spec
from service.spec.model import SweepSpec
from service.spec.stored import parse_stored_spec
from tests.specs import parse
from trainables.analysis.examine import examine
from trainables.analysis.held_out import measure_held_out
from trainables.build import build_run
from trainables.data.datasets import load, open_rows
from trainables.data.digest import digest_rows
from trainables.data.lazy import LazySplit
from trainables.data.placing import place_split
from trainables.data.splits import Split, Splits
from trainables.errors import ContractError, DataError
from trainables.loop import TrainingRun, train
from trainables.run import EpochResult

N, VAL, EPOCHS = 41, 13, 3
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N + VAL, 4, generator=GENERATOR)
Y = (X[:, 0] > 0).long()


class Items(Dataset[tuple[Tensor, Tensor]]):
    """Rows read one by one, and how often."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.reads = x, y, 0

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        return self.x[index], self.y[index]


class Noisy(Items):
    """Rows with noise from all three generators, as transforms draw it."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = super().__getitem__(index)
        draws = random.random() + np.random.random() + torch.rand(())
        return x + draws.float(), y


def parts(kind: type[Items] = Items) -> dict[str, Any]:
    return {"train": kind(X[:N], Y[:N]), "val": Items(X[N:], Y[N:])}


def items() -> Any:
    return parts()


def arrays() -> Any:
    return {"train": (X[:N], Y[:N]), "val": (X[N:], Y[N:])}


def noisy() -> Any:
    return parts(Noisy)


def viewed() -> Any:
    made = parts(Noisy)
    return made["train"], Items(X[:N], Y[:N]), made["val"]


def attribute() -> Any:
    made = parts(Noisy)
    made["train"].evaluation = Items(X[:N], Y[:N])
    return {**made, "train": Subset(made["train"], range(N))}


def loaders() -> Any:
    made = parts()
    return {
        "train": DataLoader(made["train"], batch_size=8, shuffle=True, drop_last=True),
        "val": DataLoader(made["val"], batch_size=5),
    }


def weighted() -> Any:
    made = parts()
    sampler = WeightedRandomSampler(torch.where(Y[:N] == 1, 1.0, 0.0), 16)  # type: ignore[arg-type]  # a tensor does
    return {**made, "train": DataLoader(made["train"], batch_size=8, sampler=sampler)}


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows in an order of the stream's own."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self.y)):
            yield self.x[index] + random.random() * 0, self.y[index]


def stream() -> Any:
    return {"train": Stream(X[:N], Y[:N]), "val": Stream(X[N:], Y[N:])}


class Endless(Stream):
    """A stream without an end."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from super().__iter__()


def endless() -> Any:
    return {**parts(), "train": Endless(X[:N], Y[:N])}


def tensors() -> Any:
    whole = TensorDataset(X, Y)
    return {"train": Subset(whole, range(N)), "val": Subset(whole, range(N, N + VAL))}


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def build(data: str, network: str = "linear", **training: Any) -> tuple[TrainingRun, Splits]:
    options = {"max_epochs": EPOCHS, "batch_size": 8, "lr": 0.01, **training}
    loader = options.pop("loader", {})
    spec = parse(
        data={"name": f"{__name__}:{data}", "test": 0, "allow_overlap": True, "loader": loader},
        trainable=f"{__name__}:{network}",
        training=options,
        early_stopping="off",
        confirm="off",
    )
    splits = load(spec.data)
    return build_run(spec, {"dropout": 0.1}, splits, baseline=False, device="cpu"), splits


def curve(data: str, **training: Any) -> list[EpochResult]:
    return list(train(build(data, **training)[0]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_has_the_losses_of_its_arrays(workers: int) -> None:
    assert curve("items", loader={"workers": workers}) == curve("arrays")


def test_tensors_of_a_dataset_are_read_once() -> None:
    splits = build("tensors")[1]
    assert isinstance(splits.train, Split)
    assert curve("tensors") == curve("arrays")


def test_transforms_are_drawn_anew_in_every_epoch_by_the_trainings_seeds() -> None:
    run, splits = build("noisy")
    assert isinstance(splits.train, LazySplit)
    plan = [torch.arange(5)]
    read = [next(run.data.train.batches(plan, seed))[0] for seed in (1, 2, 1)]  # type: ignore[attr-defined]  # of a dataset
    assert not torch.equal(read[0], read[1])
    assert torch.equal(read[0], read[2])
    first = curve("noisy")
    assert first == curve("noisy")
    assert first == curve("noisy", loader={"workers": 2})
    assert first != curve("noisy", seed=1)


def test_reading_does_not_touch_the_generators_of_the_training() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]  # a tuple
    curve("noisy")
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]  # a tuple
    assert before == after


@pytest.mark.parametrize("data", ["noisy", "loaders", "weighted", "stream"])
def test_a_resumed_training_reads_what_it_would_have_read(data: str) -> None:
    whole = curve(data)
    first, _ = build(data)
    next(train(first))
    second, _ = build(data)
    second.load_state_dict(first.state_dict())
    assert list(train(second)) == whole[1:]


@pytest.mark.parametrize("data", ["viewed", "attribute"])
def test_the_gap_is_measured_without_the_transforms_of_the_training(data: str) -> None:
    run, splits = build(data)
    assert not any("transforms" in note for note in splits.notes)
    results = list(train(run))
    run.model.load_state_dict(run.best_state)
    held = measure_held_out(run, splits, run.best_state)
    assert held.train["loss"].mean() == pytest.approx(results[-1].metrics["train/loss"])
    subset = run.parts.subset
    assert subset is not None
    with torch.no_grad():
        outputs = run.model.eval()(X[:N][subset])
    expected = nn.functional.cross_entropy(outputs, Y[:N][subset])
    assert results[-1].metrics["train/loss"] == pytest.approx(float(expected), rel=1e-5)


def test_a_train_side_with_transforms_is_said() -> None:
    assert any("transforms" in note for note in build("noisy")[1].notes)
    assert not any("transforms" in note for note in build("items")[1].notes)


@pytest.mark.parametrize(("given", "batches"), [({}, [8] * 5), ({"batch_size": 3}, [3] * 13)])
@pytest.mark.parametrize("stored", [False, True])
def test_a_ready_loader_keeps_its_batches_unless_the_spec_gives_another_size(
    given: dict[str, int], batches: list[int], stored: bool
) -> None:
    spec = parse(
        data={"name": f"{__name__}:loaders", "test": 0},
        trainable=f"{__name__}:linear",
        training={"max_epochs": 2, **given},
        confirm="off",
    )
    if stored:
        spec = parse_stored_spec(dump_spec(spec), "it", Path())
    run_preflight(spec, "it")
    run = build_run(spec, {"dropout": 0.1}, load(spec.data), baseline=False, device="cpu")
    plan = run.data.train.plan(run.training.batch_size)
    assert not isinstance(plan, int)
    assert [len(batch) for batch in plan] == batches
    assert list(train(run))[-1].done
    assert run.steps == 2 * len(batches)


def test_a_space_may_vary_the_batch_size_of_a_ready_loader() -> None:
    spec = parse(
        data={"name": f"{__name__}:loaders", "test": 0},
        trainable=f"{__name__}:linear",
        space={"batch_size": {"choice": [3, 4]}},
        confirm="off",
    )
    run_preflight(spec, "it")
    run = build_run(spec, {"batch_size": 4}, load(spec.data), baseline=False, device="cpu")
    next(train(run))
    assert run.steps == N // 4


def test_a_ready_loaders_sampler_draws_the_order() -> None:
    run, _ = build("weighted")
    plan = run.data.train.plan(8)
    assert not isinstance(plan, int)
    assert [len(batch) for batch in plan] == [8, 8]
    assert set(Y[torch.cat(list(plan))].tolist()) == {1}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_is_trained_in_passes(workers: int) -> None:
    run, splits = build("stream", loader={"workers": workers})
    examine(run, splits)
    results = list(train(build("stream", loader={"workers": workers})[0]))
    assert results[-1].metrics["train/loss"] < results[0].metrics["train/loss"]
    assert {"gap/loss", "val/accuracy"} <= results[-1].metrics.keys()


def test_an_endless_stream_has_epochs_of_some_steps() -> None:
    run, _ = build("endless", steps_per_epoch=4)
    next(train(run))
    assert run.steps == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_steps_per_epoch_shorten_an_epoch_of_a_dataset(workers: int) -> None:
    whole = curve("noisy", steps_per_epoch=2)
    assert curve("noisy", steps_per_epoch=2, loader={"workers": workers}) == whole


def test_steps_per_epoch_shorten_an_epoch_of_arrays() -> None:
    run, _ = build("arrays", steps_per_epoch=2)
    next(train(run))
    assert run.steps == 2


def ragged() -> Any:
    draws = random.Random(0)
    series = [torch.randn(draws.randint(2, 9), 3) for _ in range(N)]
    rows = [(one, int(one.sum() > 0)) for one in series]
    return {"train": Rows(rows[:28]), "val": Rows(rows[28:])}


class Rows(Dataset[Any]):
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def pad(samples: list[tuple[Tensor, int]]) -> Any:
    series, y = zip(*samples, strict=True)
    lengths = torch.tensor([len(s) for s in series])
    return (pad_sequence(list(series), batch_first=True), lengths), torch.tensor(y)


class Recurrent(nn.Module):
    """Two logits from the last state of each series."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        outputs, _ = self.rnn(x)
        out: Tensor = self.head(self.dropout(outputs[torch.arange(len(x)), lengths - 1]))
        return out


def test_ragged_series_are_padded_by_the_users_function() -> None:
    run, splits = build("ragged", "Recurrent", loader={"collate": f"{__name__}:pad"})
    examine(run, splits)
    assert list(train(run))[-1].done


def test_a_changed_sample_is_noticed_and_a_transform_is_not() -> None:
    def digest(data: str) -> dict[str, str]:
        spec = parse(data={"name": f"{__name__}:{data}", "test": 0}, confirm="off")
        return digest_rows(open_rows(spec.data))

    assert digest("noisy") == digest("noisy")
    assert digest("items")["inputs"] == digest("items")["inputs"] != digest("shifted")["inputs"]
    assert digest("items")["samples"] == str(N + VAL)


def shifted() -> Any:
    return {**parts(), "train": Items(X[:N] + 1, Y[:N])}


def test_test_samples_are_set_aside_from_val() -> None:
    spec = parse(data={"name": f"{__name__}:items", "test": 0.1}, confirm="off")
    splits = load(spec.data)
    assert splits.test is not None
    assert len(splits.test) == 6  # type: ignore[arg-type]  # of a dataset
    assert len(splits.val) == VAL - 6  # type: ignore[arg-type]  # of a dataset


class Locked(Items):
    """A dataset that no other process can have."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__(x, y)
        self.lock = threading.Lock()


def locked() -> Any:
    return parts(Locked)


def test_data_that_cannot_be_sent_to_other_processes_are_refused() -> None:
    def spec(executor: str) -> SweepSpec:
        return parse(
            data={"name": f"{__name__}:locked", "test": 0},
            trainable=f"{__name__}:linear",
            resources={"executor": executor},
            confirm="off",
        )

    run_preflight(spec("local"), "it")
    with pytest.raises(SpecError, match=r"locked: .* cannot be sent .* cannot pickle '_thread"):
        run_preflight(spec("ray"), "it")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"training": {"batch_size": 3}}, "training.batch_size"),
        ({"space": {"batch_size": {"choice": [3, 4]}}}, "space.batch_size"),
    ],
)
@pytest.mark.parametrize("data", ["ready_streams", "ready_batches"])
def test_a_size_of_batches_beside_a_loader_that_makes_them_is_refused(
    changes: dict[str, Any], place: str, data: str
) -> None:
    spec = parse(
        **{
            "data": {"name": f"{__name__}:{data}", "test": 0},
            "trainable": f"{__name__}:linear",
            "confirm": "off",
            **changes,
        }
    )
    with pytest.raises(SpecError, match=rf"{place}: the DataLoader of train makes its batches"):
        run_preflight(spec, "it")


def with_split(split: str = "first") -> Any:
    return {**arrays(), "test": (X[:3] + 9, Y[:3])}


@pytest.mark.parametrize("data", ["loaders", "with_split"])
def test_a_stored_spec_which_has_all_keys_is_read_as_the_one_that_was_written(data: str) -> None:
    source = {"name": f"{__name__}:{data}", **({"test": 0} if data == "loaders" else {})}
    written = parse(data=source, trainable=f"{__name__}:linear", confirm="off")
    run_preflight(parse_stored_spec(dump_spec(written), "it", Path()), "it")


def ordered() -> Any:
    return {**stream(), "val": Ordered(X[N:], Y[N:])}


class Ordered(Stream):
    """A stream with the same order at every pass."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x, self.y, strict=True)


class Unsteady(Ordered):
    """A stream that goes on where it was."""

    passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        Unsteady.passes += 1
        return iter([*super().__iter__()][Unsteady.passes % 2 :])


def unsteady() -> Any:
    return {**stream(), "val": Unsteady(X[N:], Y[N:])}


def ready_batches() -> Any:
    made = parts()
    batches = BatchSampler(SequentialSampler(range(N)), 5, drop_last=False)
    return {**made, "train": DataLoader(made["train"], batch_sampler=batches)}


def ready_streams() -> Any:
    made = ordered()
    return {name: DataLoader(part, 4) for name, part in made.items()}


@pytest.mark.parametrize(("data", "size"), [("ordered", 1), ("ready_streams", 4)])
def test_half_of_a_steady_validation_stream_is_for_the_test(data: str, size: int) -> None:
    splits = load(parse(data=f"{__name__}:{data}").data)
    assert splits.test is not None
    places = torch.arange(VAL) // size
    for half, split in enumerate((splits.val, splits.test)):
        found = torch.cat([x for x, _ in place_split(split, "cpu").read(3)])
        assert torch.equal(found, X[N:][places % 2 == half])


def test_a_validation_stream_in_another_order_stays_whole() -> None:
    assert load(parse(data=f"{__name__}:unsteady").data).test is None
    with pytest.raises(DataError, match="another order at each pass; return `test`"):
        load(parse(data={"name": f"{__name__}:unsteady", "test": 0.3}).data)


def overlapping() -> Any:
    whole = Items(X, Y)
    return {
        "train": Subset(whole, range(N)),
        "val": Subset(Subset(whole, range(N - 2, 50)), [0, 5]),
    }


def twice() -> Any:
    whole = Items(X, Y)
    return {"train": whole, "val": DataLoader(whole)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("overlapping", r"train and val share 1 sample of one Dataset, such as number 39"),
        ("twice", rf"train and val share {N + VAL} samples"),
    ],
)
def test_positions_of_a_dataset_that_are_in_two_splits_are_refused(data: str, message: str) -> None:
    config = {"name": f"{__name__}:{data}", "test": 0}
    with pytest.raises(DataError, match=message):
        load(parse(data=config, confirm="off").data)
    load(parse(data={**config, "allow_overlap": True}, confirm="off").data)


def seeded(seed: int) -> Any:
    order = torch.randperm(N + VAL, generator=torch.Generator().manual_seed(seed))
    x, y = X[order], Y[order]
    return {"train": Items(x[:N], y[:N]), "val": Items(x[N:], y[N:])}


def test_replicates_of_a_dataset_are_what_the_function_returns_for_their_seed() -> None:
    rows = open_rows(parse(data={"name": f"{__name__}:seeded", "test": 0}, confirm="off").data)
    assert rows.redraws
    found = [place_split(rows.divide(r).val, "cpu").head(VAL)[0] for r in (0, 1, 1)]
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ("seeded", {}, r"other samples for every replicate, .* return the same `test`"),
        ("items", {"redraw": "pooled"}, r"samples are not pooled; let it take `seed` or `fold`"),
        ("items", {"split": {"name": "group", "by": "patient"}}, r"has no columns; `by` names"),
    ],
)
def test_divisions_that_lazy_data_do_not_have_are_refused(
    data: str, changes: dict[str, Any], message: str
) -> None:
    spec = parse(data={"name": f"{__name__}:{data}", **changes}, confirm="off")
    with pytest.raises(DataError, match=message):
        load(spec.data)


class Breaks(Items):
    """Item 3 cannot be read."""

    def __getitem__(self, index: int) -> Any:
        if index == 3:
            raise OSError("disk")
        return super().__getitem__(index)


class Triples(Items):
    def __getitem__(self, index: int) -> Any:
        return (*super().__getitem__(index), torch.ones(()))


class Nothing(Items):
    def __getitem__(self, index: int) -> Any:
        return None


class Texts(Items):
    def __getitem__(self, index: int) -> Any:
        return self.x[index], "yes"


class Empty(Items):
    def __len__(self) -> int:
        return 0


class Halves(Items):
    def __getitem__(self, index: int) -> Any:
        return self.x[index].half(), self.y[index]


def breaks() -> Any:
    return parts(Breaks)


def triples() -> Any:
    return parts(Triples)


def nothing() -> Any:
    return parts(Nothing)


def texts() -> Any:
    return parts(Texts)


def empty() -> Any:
    return parts(Empty)


def halves() -> Any:
    return parts(Halves)


def spent() -> Any:
    return {**parts(), "train": Spent(X[:0], Y[:0])}


class Spent(Stream):
    """A stream without samples."""


class Exits(Items):
    """Item 4 ends the process."""

    def __getitem__(self, index: int) -> Any:
        if index == 4:
            raise SystemExit(1)
        return super().__getitem__(index)


def exits() -> Any:
    return parts(Exits)


class NoIterator(Stream):
    def __iter__(self) -> Any:
        return None


def no_iterator() -> Any:
    return {**parts(), "train": NoIterator(X, Y)}


def one_value() -> Any:
    return {**arrays(), "train": (X, 3)}


def no_rows() -> Any:
    return {**arrays(), "val": (X[:0], Y[:0])}


def objects() -> Any:
    return {**arrays(), "train": (X[:2], np.array([object(), object()]))}


def brain_floats() -> Any:
    return {"train": (X[:N].bfloat16(), Y[:N]), "val": (X[N:].bfloat16(), Y[N:])}


def test_arrays_of_short_floats_are_read() -> None:
    assert curve("brain_floats")[-1].done


def short_view() -> Any:
    return {**parts(), "train_eval": Items(X[:3], Y[:3])}


def generator() -> Any:
    return {**parts(), "train": (pair for pair in zip(X, Y, strict=True))}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("breaks", ContractError, r"'train': item 3 raised OSError: disk \(test_lazy"),
        ("triples", DataError, r"train is float32, int64, float32, one of val float32, int64"),
        ("nothing", ContractError, r"collating 41 samples like a NoneType raised TypeError"),
        ("texts", ContractError, r"gave a tuple of 41 str as targets: it has no tensor"),
        ("empty", ContractError, r"'train' is empty"),
        ("halves", DataError, r"train is float16, int64, one of val float32, int64: give one"),
        ("spent", ContractError, r"'train' gave no batch in a pass"),
        ("exits", ContractError, r"'train': item 4: it ends the process, by SystemExit\(1\)"),
        ("no_iterator", ContractError, r"'train': batch 0 raised TypeError: iter\(\) returned"),
        ("one_value", ContractError, r"'train' has one value, 3, in place of one for each"),
        ("no_rows", ContractError, r"'val' is empty"),
        ("objects", ContractError, r"'train' has an object among its values; give numbers"),
        ("short_view", ContractError, r"'train_eval' has 3 samples and train 41"),
        ("generator", ContractError, r"'train' is a generator; it must be a pair"),
        ("ragged", ContractError, r"collating 28 samples .* give samples of one shape, or a coll"),
    ],
)
def test_what_cannot_be_read_is_named(
    data: str, error: type[Exception], message: str, workers: int
) -> None:
    with pytest.raises(error, match=message):
        list(train(build(data, loader={"workers": workers})[0]))
