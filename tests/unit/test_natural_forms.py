"""Usual trainings in the form in which people have them, each for two epochs in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from service.spec.model import SweepSpec
from tests.specs import parse
from trainables.analysis.examine import examine
from trainables.analysis.export import export_network
from trainables.analysis.export_subject import gather_subject
from trainables.analysis.program import Format
from trainables.build import build_run
from trainables.data.datasets import load
from trainables.errors import ContractError, DataError
from trainables.forward import call_network
from trainables.loop import train

N, T, V = 48, 7, 20


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def split_up(*arrays: Any) -> dict[str, list[Any]]:
    """The first two thirds to train, the rest to validate."""
    cut = 2 * N // 3
    return {"train": [a[:cut] for a in arrays], "val": [a[cut:] for a in arrays]}


def tokens() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, a mask of the padded ones, and whether an id above 10 is at the beginning."""
    ids = torch.randint(1, V, (N, T), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(T) < torch.randint(3, T + 1, (N, 1))
    return ids * mask, mask.long(), (ids[:, 0] > 10).long()


def ids_and_mask() -> Any:
    parts = split_up(*tokens())
    return {name: ((ids, mask), y) for name, (ids, mask, y) in parts.items()}


def named_inputs() -> Any:
    parts = split_up(*tokens())
    return {n: ({"ids": ids, "mask": mask}, y) for n, (ids, mask, y) in parts.items()}


class TextClassifier(nn.Module):
    """An embedding, averaged over the tokens that are no padding."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(V, 8), nn.Linear(8, outputs)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        weight = mask.unsqueeze(-1).float()
        pooled = (self.embedding(ids) * weight).sum(1) / weight.sum(1)
        out: Tensor = self.head(pooled)
        return out


class Encoded(torch.utils.data.Dataset[dict[str, Tensor]]):
    """What a tokenizer and a label give, as the trainers of transformers take it."""

    def __init__(self, ids: Tensor, mask: Tensor, y: Tensor) -> None:
        self.ids, self.mask, self.y = ids, mask, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            "input_ids": self.ids[index],
            "attention_mask": self.mask[index],
            "labels": self.y[index],
        }


def encoded() -> Any:
    return {name: Encoded(*part) for name, part in split_up(*tokens()).items()}


def bert(num_labels: int = 2) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=V,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=T,
        num_labels=num_labels,
    )
    return BertForSequenceClassification(config)


def language() -> Any:
    ids, _, _ = tokens()
    return {n: {"input_ids": part, "labels": part} for n, (part,) in split_up(ids).items()}


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=V, n_embd=16, n_layer=1, n_head=2, n_positions=T)
    return GPT2LMHeadModel(config)


def next_tokens() -> Any:
    ids, _, _ = tokens()
    return {n: (x, y) for n, (x, y) in split_up(ids[:, :-1], ids[:, 1:]).items()}


def next_token_model() -> nn.Module:
    return nn.Sequential(nn.Embedding(V, 8), nn.Dropout(0.1), nn.Linear(8, V))


def images() -> Any:
    x = random().random((N, 3, 8, 8), dtype=np.float32)
    return split_up(x, (x.mean(1) > 0.5).astype(np.int64))


def segmentation() -> nn.Module:
    return nn.Conv2d(3, 2, 3, padding=1)


def autoencoded() -> Any:
    x = random().random((N, 3, 8, 8), dtype=np.float32)
    return split_up(x, x)


def autoencoder() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1))


def sequences() -> Any:
    x = random().random((N, 12, 3)).astype(np.float32)
    return split_up(x, (x[:, -3:, 0].mean(1) > 0.5).astype(np.float32))


class Recurrent(nn.Module):
    """One logit from the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 8, 2, dropout=0.2, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x)[0][:, -1])
        return out


class Squeezed(Recurrent):
    """The logit without an axis of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(1)


def two_targets() -> Any:
    x = random().random((N, 5)).astype(np.float32)
    kind, value = (x[:, 0] > 0.5).astype(np.int64), x.sum(1)
    return {
        name: (x, {"kind": kind, "value": value})
        for name, (x, kind, value) in split_up(x, kind, value).items()
    }


class TwoHeads(nn.Module):
    """A class and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.value = nn.Linear(5, 8), nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.body(x).relu()
        return {"kind": self.kind(hidden), "value": self.value(hidden).squeeze(1)}


def two_losses(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    kind = functional.cross_entropy(outputs["kind"], targets["kind"], reduction="none")
    return kind + functional.mse_loss(outputs["value"], targets["value"], reduction="none")


def mixed_table() -> Any:
    draws = random()
    categories = draws.integers(0, 5, (N, 2))
    numbers = draws.random((N, 3)).astype(np.float32)
    y = (categories[:, 0] > 2).astype(np.int64)
    return {n: ((c, x), y) for n, (c, x, y) in split_up(categories, numbers, y).items()}


class Mixed(nn.Module):
    """Embeddings of categories beside numbers."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 4), nn.Linear(11, outputs)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        embedded = self.embedding(categories).flatten(1)
        out: Tensor = self.head(torch.cat([embedded, numbers], 1))
        return out


def many_labels() -> Any:
    x = random().random((N, 6)).astype(np.float32)
    return split_up(x, (x[:, :3] > 0.5).astype(np.int64))


def linear_of_labels() -> nn.Module:
    return nn.Linear(6, 3)


CASES = {
    "ids and mask": ("ids_and_mask", "TextClassifier", {}, "accuracy"),
    "named inputs": ("named_inputs", "TextClassifier", {}, "accuracy"),
    "BERT": ("encoded", "bert", {}, "accuracy"),
    "ids, mask, target": ("triples", "TextClassifier", {}, "accuracy"),
    "labels apart": ("encoded", "PlainClassifier", {}, "accuracy"),
    "GPT-2": ("language", "gpt2", {}, None),
    "tokens": ("next_tokens", "next_token_model", {}, "accuracy"),
    "segmentation": ("images", "segmentation", {}, "accuracy"),
    "autoencoder": ("autoencoded", "autoencoder", {}, "mae"),
    "one logit": ("sequences", "Recurrent", {}, "accuracy"),
    "squeezed logit": ("sequences", "Squeezed", {}, "accuracy"),
    "BCE": ("sequences", "Squeezed", {"loss": "torch.nn:BCEWithLogitsLoss"}, "accuracy"),
    "two heads": ("two_targets", "TwoHeads", {"loss": f"{__name__}:two_losses"}, None),
    "categories and numbers": ("mixed_table", "Mixed", {}, "accuracy"),
    "labels": ("many_labels", "linear_of_labels", {}, "accuracy"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_usual_training_works_as_it_is(case: str) -> None:
    data, network, training, metric = CASES[case]
    spec = parse(
        data={"name": f"{__name__}:{data}", "allow_overlap": True, "test": 0},
        trainable=f"{__name__}:{network}",
        training={"max_epochs": 12, "batch_size": 8, "lr": 0.01, **training},
        early_stopping="off",
        confirm="off",
    )
    splits = load(spec.data)
    run = build_run(spec, {"dropout": 0.0}, splits, baseline=True, device="cpu")
    found = examine(run, splits, workers=2)
    assert found.hidden == ()
    results = list(train(run))
    assert results[-1].metrics["train/loss"] < results[0].metrics["train/loss"]
    assert ("val/accuracy" in results[0].metrics) == (metric == "accuracy")
    assert ("val/mae" in results[0].metrics) == (metric == "mae")


@pytest.mark.parametrize(
    "case", ["ids and mask", "named inputs", "tokens", "categories and numbers"]
)
@pytest.mark.parametrize("form", ["export", "torchscript"])
def test_a_network_is_exported_with_the_inputs_that_it_takes(
    case: str, form: Format, tmp_path: Path
) -> None:
    data, network, _, _ = CASES[case]
    spec = parse(
        data={"name": f"{__name__}:{data}", "allow_overlap": True, "test": 0},
        trainable=f"{__name__}:{network}",
        confirm="off",
    )
    splits = load(spec.data)
    run = build_run(spec, {"dropout": 0.0}, splits, baseline=True, device="cpu")
    samples, _ = run.data.val.head(3)
    subject = gather_subject(spec, {"dropout": 0.0}, run, splits, None)
    assert export_network(subject, tmp_path, form, verify=False).reason == ""
    program: Any = (
        torch.export.load(tmp_path / "model.pt2").module()
        if form == "export"
        else torch.jit.load(tmp_path / "model.ts")
    )
    assert torch.allclose(call_network(program, samples), call_network(run.model.eval(), samples))


def flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


class Stateful(nn.Module):
    """Its recurrence goes on from the batch before, whatever the size of that one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(V, 4), nn.GRU(4, 4), nn.Linear(4, V)
        self.state: Tensor | None = None

    def forward(self, ids: Tensor) -> Tensor:
        made, self.state = self.gru(self.embedding(ids.T), self.state)
        out: Tensor = self.head(made.transpose(0, 1))
        return out


def minus_one() -> Any:
    x = random().random((N, 5)).astype(np.float32)
    return split_up(x, np.where(x[:, 0] > 0.5, 1, -1))


def linear() -> nn.Module:
    return nn.Linear(5, 2)


def prices() -> Any:
    x = random().random((N, 5)).astype(np.float32)
    return split_up(x, np.resize([108_087, 99_000, 120_000, 5], N))


def triples() -> Any:
    return {name: tuple(part) for name, part in split_up(*tokens()).items()}


class PlainClassifier(TextClassifier):
    """It takes a tokenizer's dict, without the labels."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return super().forward(input_ids, attention_mask)


def ragged() -> Any:
    items = [(np.zeros((1 + i % 3, 2)), i % 2) for i in range(N)]
    return {"train": Items(items), "val": Items(items)}


class Items(torch.utils.data.Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


def stream() -> Any:
    return {"train": Stream(), "val": Stream()}


def mixed_types() -> Any:
    made = split_up(random().integers(0, 255, (N, 5)).astype(np.uint8), np.arange(N) % 2)
    made["val"][0] = made["val"][0] / 255
    return made


def wrong_lengths() -> Any:
    made = split_up(random().random((N, 5)), np.arange(N) % 2)
    made["train"][1] = made["train"][1][:-1]
    return made


def check(spec: SweepSpec) -> None:
    splits = load(spec.data)
    examine(build_run(spec, {}, splits, baseline=True, device="cpu"), splits)


@pytest.mark.parametrize(
    ("data", "network", "error", "message"),
    [
        ("minus_one", "linear", ContractError, r"classes from -1 to 1, and the network has 2 out"),
        ("prices", "linear", DataError, r"4 different whole numbers up to 120000: .*regression"),
        ("triples", "linear", ContractError, r"forward, on inputs .*TypeError"),
        (
            "ragged",
            "linear",
            ContractError,
            r"expects each tensor to be equal size, .* a collate_fn that pads",
        ),
        ("stream", "linear", ContractError, r"'train' gave no batch in a pass"),
        ("mixed_types", "linear", DataError, r"train has uint8, val has float32: give one type"),
        ("wrong_lengths", "linear", DataError, r"train has 32 inputs but 31 targets"),
        ("two_targets", "TwoHeads", ContractError, r"no built-in loss is for .*training\.loss"),
        ("images", "flat", ContractError, r"needs \(8, classes, 8, 8\) or \(8, 8, 8, clas"),
        ("sequences", "linear", ContractError, r"forward, on inputs float32 \(2, 12, 3\), raised"),
        ("next_tokens", "Stateful", ContractError, r"forward, on inputs int64 \(8, 6\), raised"),
    ],
)
def test_what_does_not_fit_is_named(
    data: str, network: str, error: type[Exception], message: str
) -> None:
    spec = parse(
        data={"name": f"{__name__}:{data}", "allow_overlap": True, "test": 0},
        trainable=f"{__name__}:{network}",
        confirm="off",
    )
    with pytest.raises(error, match=message):
        check(spec)


@pytest.mark.parametrize(
    "active",
    [{"input_noise": 0.1}, {"mixup": 0.2}, {"augmentation": "shift", "augmentation_strength": 0.5}],
)
def test_what_needs_floats_is_refused_for_ids(active: dict[str, Any]) -> None:
    spec = parse(
        data={"name": f"{__name__}:next_tokens", "allow_overlap": True, "test": 0},
        trainable=f"{__name__}:next_token_model",
        confirm="off",
    )
    with pytest.raises(ContractError, match=r"whole numbers|for other inputs"):
        build_run(spec, active, load(spec.data), baseline=False, device="cpu")
