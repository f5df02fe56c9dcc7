"""A ``LightningDataModule`` as the data of a sweep."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split

from tests.specs import parse
from trainables.build import build_run
from trainables.data.datasets import load, open_rows
from trainables.data.lazy import LazySplit
from trainables.data.placing import place_split
from trainables.data.rows import Rows
from trainables.errors import ContractError, DataError
from trainables.loop import train

N, VAL, TEST = 40, 20, 12
X = torch.randn(N + VAL + TEST, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def some(start: int, count: int) -> Dataset[Any]:
    return TensorDataset(X[start : start + count], Y[start : start + count])


class Plain(lightning.pytorch.LightningDataModule):
    """Parts of a data module as people write it, which notes the calls of its methods."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.calls: list[str] = []

    def prepare_data(self) -> None:
        self.calls.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.calls.append(f"setup {stage}")
        if stage == "fit":
            self.train, self.val = some(0, N), some(N, VAL)
        else:
            self.held = some(N + VAL, TEST)

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, self.hparams["size"], shuffle=True)

    def val_dataloader(self) -> Any:
        return [DataLoader(self.val, 5)]


class WithTest(Plain):
    def test_dataloader(self) -> Any:
        return DataLoader(self.held, 5)


class Older(pytorch_lightning.LightningDataModule):
    """The other package's class, without a constructor."""

    def setup(self, stage: Any = None) -> None:
        self.train, self.val = random_split(some(0, N + VAL), [N, VAL])  # type: ignore[var-annotated]  # mypy does not infer the items

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, 8)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val, 8)


class Folds(Plain):
    """A data module that divides by a seed."""

    def __init__(self, seed: int = 3) -> None:
        super().__init__()
        self.seed = seed

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.train, self.val = random_split(some(0, N + VAL), [N, VAL], generator)
        self.held = some(N + VAL, TEST)

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, 8)

    def test_dataloader(self) -> Any:
        return DataLoader(self.held, 5)


class Hooked(Plain):
    """Shifts batches of the training only, where the trainer says so, and doubles all."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        assert self.trainer is not None
        return (x + 100 if self.trainer.training else x), y

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0] * 2, batch[1]


def made() -> Any:
    return Plain.from_datasets(some(0, N), some(N, VAL), some(N + VAL, TEST), batch_size=4)


def rows(name: str, **options: Any) -> Rows:
    return open_rows(parse(data={"name": f"{__name__}:{name}", **options}).data)


def samples(split: Any) -> Tensor:
    assert isinstance(split, LazySplit)
    return torch.stack([split.dataset[i][0] for i in range(len(split))])


def test_its_loaders_are_the_splits() -> None:
    splits = rows("WithTest").divide()
    assert torch.equal(samples(splits.train), X[:N])
    assert torch.equal(samples(splits.val), X[N : N + VAL])
    assert torch.equal(samples(splits.test), X[N + VAL :])
    assert isinstance(splits.train, LazySplit)
    assert (splits.train.loading.batch_size, splits.train.loading.sampler) == (8, None)


def test_its_methods_are_called_in_lightnings_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    monkeypatch.setattr(WithTest, "prepare_data", lambda _: found.append("prepare_data"))
    setup = WithTest.setup

    def noting(self: WithTest, stage: str) -> None:
        found.append(f"setup {stage}")
        setup(self, stage)

    monkeypatch.setattr(WithTest, "setup", noting)
    rows("WithTest")
    assert found == ["prepare_data", "setup fit", "setup test"]


def test_test_samples_are_set_aside_where_it_has_none() -> None:
    splits = rows("Plain", test=0.1).divide()
    assert (len(splits.val), len(splits.test)) == (VAL - 6, 6)  # type: ignore[arg-type]  # both have a length


def test_it_takes_arguments_and_only_those_it_names() -> None:
    splits = rows("Plain", size=5).divide()
    assert isinstance(splits.train, LazySplit)
    assert splits.train.loading.batch_size == 5
    with pytest.raises(ContractError, match=r"Plain takes no argument 'dataset'.*size"):
        rows("Plain", dataset=5)
    with pytest.raises(ContractError, match="Older takes no argument 'batch_size'"):
        rows("Older", batch_size=5)


def test_the_share_of_test_samples_is_ours_where_its_constructor_is_lightnings() -> None:
    splits = rows("Older", test=0.1).divide()
    assert len(splits.test) == 6  # type: ignore[arg-type]  # it has a length


def test_a_function_may_return_one_with_loaders_of_its_own() -> None:
    splits = rows("made").divide()
    assert torch.equal(samples(splits.test), X[N + VAL :])


def test_a_division_without_a_seed_is_the_same_each_time() -> None:
    first, second = (rows("Older").divide() for _ in range(2))
    assert torch.equal(samples(first.train), samples(second.train))
    assert not torch.equal(samples(first.train), X[:N])


def test_replicates_have_divisions_of_their_own_where_it_takes_a_seed() -> None:
    divided = rows("Folds")
    search, other = divided.divide(), divided.divide(1)
    assert not torch.equal(samples(search.train), samples(other.train))
    assert torch.equal(samples(search.test), samples(other.test))
    assert torch.equal(
        samples(rows("Older").divide().train), samples(rows("Older").divide(1).train)
    )


def test_its_hooks_change_batches_and_know_the_stage() -> None:
    spec = parse(data={"name": f"{__name__}:Hooked", "test": 0}, trainable=f"{__name__}:linear")
    splits = pickle.loads(pickle.dumps(load(spec.data)))  # as it is sent to other processes
    run = build_run(spec, {}, splits, baseline=True, device="cpu")
    plan = run.data.train.plan(8)
    x = next(run.data.train.feed(plan, run.parts.process, 0)).x
    assert x.mean() > 190
    for side, count in ((run.data.measured, N), (run.data.val, VAL)):
        read = torch.cat([x for x, _ in side.read(100)])
        assert read.max() < 20
        assert {tuple(row) for row in read.tolist()} <= {tuple(r) for r in (2 * X).tolist()}
        assert len(read) == count
    assert next(train(run)).metrics["gap/loss"] < 1e3


def test_hooks_that_draw_do_not_blur_the_gap() -> None:
    noted = load(parse(data={"name": f"{__name__}:Noisy"}).data).notes
    assert not [note for note in noted if "transforms of the training on" in note]


class Noisy(Hooked):
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        assert self.trainer is not None
        return (batch[0] + torch.rand(()) if self.trainer.training else batch[0]), batch[1]


class Named(Dataset[Any]):
    """Samples as mappings, with texts beside tensors."""

    def __init__(self, start: int, count: int) -> None:
        self.start, self.count = start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = self.start + index
        return {"image": X[place], "label": Y[place], "name": f"row {place}"}


class Mappings(Plain):
    def setup(self, stage: str) -> None:
        self.train, self.val = Named(0, N), Named(N, VAL)


def test_batches_may_be_mappings_of_any_keys() -> None:
    splits = rows("Mappings", test=0).divide()
    assert splits.info.input_shape == {"image": (4,), "label": ()}
    x, _ = place_split(splits.val, "cpu").head(2)
    assert x["name"] == [f"row {N}", f"row {N + 1}"]
    assert torch.equal(x["label"], Y[N : N + 2])


class NoVal(lightning.pytorch.LightningDataModule):
    def train_dataloader(self) -> Any:
        return DataLoader(some(0, N), 8)


class Several(Plain):
    def val_dataloader(self) -> Any:
        return [DataLoader(self.val, 5), DataLoader(self.held, 5)]

    def setup(self, stage: str) -> None:
        super().setup("fit")
        super().setup("test")


class Keyed(Plain):
    def train_dataloader(self) -> Any:
        return {"a": DataLoader(self.train), "b": DataLoader(self.val)}


class Combined(Plain):
    def train_dataloader(self) -> Any:
        return CombinedLoader({"a": DataLoader(self.train), "b": DataLoader(self.val)})


class Nothing(Plain):
    def val_dataloader(self) -> Any:
        return None


class Broken(Plain):
    def setup(self, stage: str) -> None:
        raise FileNotFoundError("no /data/images")


class Asking(Plain):
    def setup(self, stage: str) -> None:
        super().setup(stage)
        assert self.trainer is not None
        assert self.trainer.world_size == 1
        _ = self.trainer.callbacks


class Moving(Plain):
    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return zip(X, Y, strict=True)


class Streaming(Hooked):
    def train_dataloader(self) -> Any:
        return DataLoader(Stream(), 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoVal", r"NoVal does not define val_dataloader, which gives the val samples"),
        ("Several", r"Several\.val_dataloader returned a list of 2 DataLoader; return one"),
        ("Keyed", r"Keyed\.train_dataloader returned a dict with the keys a, b; return one"),
        ("Combined", r"Combined\.train_dataloader returned a CombinedLoader; return one"),
        ("Nothing", r"Nothing\.val_dataloader returned None; return one"),
        ("Broken", r"Broken\.setup raised FileNotFoundError: no /data/images \(test_data_mod"),
        ("Asking", r"Asking\.setup raised AttributeError: .*has no 'callbacks'"),
        ("Moving", r"Moving defines transfer_batch_to_device, which is not called"),
        ("Streaming", r"but the loader of train owns its batches, so they cannot be changed"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(name: str, message: str) -> None:
    with pytest.raises((ContractError, DataError), match=message):
        rows(name)


def test_a_missing_lightning_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'pytorch_lightning'", name="pytorch_lightning")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ContractError, match=r"pip install 'gapsweep\[lightning\]'"):
        rows("Plain")
