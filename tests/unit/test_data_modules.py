"""A ``LightningDataModule`` as the data of a sweep."""

from __future__ import annotations

import importlib
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.few_samples import VAL, N, X, Y
from tests.specs import parse
from trainables.build import build_run
from trainables.data.datasets import load, open_rows
from trainables.data.lazy import LazySplit
from trainables.data.placing import place_split
from trainables.data.rows import Rows
from trainables.errors import ContractError, DataError
from trainables.loop import train

MODULES = "tests.data_modules"


def rows(name: str, **options: Any) -> Rows:
    return open_rows(parse(data={"name": f"{MODULES}:{name}", **options}).data)


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
    from tests.data_modules import WithTest

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
    spec = parse(data={"name": f"{MODULES}:Hooked", "test": 0}, trainable=f"{MODULES}:linear")
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
    noted = load(parse(data={"name": f"{MODULES}:Noisy"}).data).notes
    assert not [note for note in noted if "transforms of the training on" in note]


def test_batches_may_be_mappings_of_any_keys() -> None:
    splits = rows("Mappings", test=0).divide()
    assert splits.info.input_shape == {"image": (4,), "label": ()}
    x, _ = place_split(splits.val, "cpu").head(2)
    assert x["name"] == [f"row {N}", f"row {N + 1}"]
    assert torch.equal(x["label"], Y[N : N + 2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoVal", r"NoVal does not define val_dataloader, which gives the val samples"),
        ("Several", r"Several\.val_dataloader returned a list of 2 DataLoader; return one"),
        ("Keyed", r"Keyed\.train_dataloader returned a dict with the keys a, b; return one"),
        ("Combined", r"Combined\.train_dataloader returned a CombinedLoader; return one"),
        ("Nothing", r"Nothing\.val_dataloader returned None; return one"),
        ("Broken", r"Broken\.setup raised FileNotFoundError: no /data/images \(data_modules"),
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
