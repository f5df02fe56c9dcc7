"""Networks of every kind that an export meets, with two inputs of each; imports torch alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

ROWS, FEATURES, OUTPUTS, TOKENS, LENGTH = 12, 6, 3, 11, 5


def draw_rows() -> Tensor:
    return torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(0))


def draw_text() -> dict[str, Tensor]:
    ids = torch.randint(1, TOKENS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    lengths = 1 + torch.arange(ROWS) % LENGTH
    mask = torch.arange(LENGTH) < lengths[:, None]
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def draw_series() -> tuple[Tensor, Tensor]:
    series = torch.randn(ROWS, LENGTH, FEATURES, generator=torch.Generator().manual_seed(0))
    return series, 1 + torch.arange(ROWS) % LENGTH


def build_plain(outputs: int = OUTPUTS) -> nn.Module:
    layers = [nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Linear(8, outputs))


def build_normed() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(FEATURES, 8)), nn.ReLU(), nn.Linear(8, OUTPUTS))


class Tied(nn.Module):
    """Its weights share memory: one is another's transpose, two are slices of one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, 4), nn.Linear(4, FEATURES)
        self.same = self.first
        buffer = torch.randn(2 * FEATURES, generator=torch.Generator().manual_seed(1))
        self.register_buffer("shift", buffer[:FEATURES])
        self.register_buffer("scale", buffer[FEATURES:])

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.same(x) + self.first(x)) * self.scale + self.shift


class Branching(nn.Module):
    """What it computes depends on the values of its inputs, and on a length read from them."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(TOKENS, width), nn.Linear(width, OUTPUTS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        longest = int(attention_mask.sum(1).max())
        embedded = self.embed(input_ids[:, :longest]) * attention_mask[:, :longest, None]
        if bool((input_ids > TOKENS // 2).any()):
            embedded = embedded.abs()
        return self.head(embedded.sum(1))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.LSTM(FEATURES, 4, batch_first=True), nn.Linear(4, OUTPUTS)

    def forward(self, series: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(series, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (state, _) = self.recurrent(packed)
        return self.head(state[-1])


class Noisy(nn.Module):
    """It draws random numbers in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + torch.randn_like(x))


class OneSize(nn.Module):
    """Tracing sees one number of samples: it counts them in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.head(x[i]) for i in range(len(x))])


def build_text(kind: str) -> nn.Module:
    """A tiny model of transformers."""
    import transformers

    small: Mapping[str, Any] = {"vocab_size": TOKENS, "num_labels": OUTPUTS}
    if kind == "gpt2":
        sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "pad_token_id": 0}
        return transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**small, **sizes))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(**small, **sizes, intermediate_size=8)
    if kind == "bert":
        return transformers.BertForSequenceClassification(config)
    return transformers.BertModel(config)


NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], Mapping[str, Any], Callable[[], Any]]] = {
    "layers": (build_plain, {}, draw_rows),
    "a parametrisation": (build_normed, {}, draw_rows),
    "weights that share memory": (Tied, {}, draw_rows),
    "control flow by values": (Branching, {"width": 6}, draw_text),
    "packed sequences": (Packed, {}, draw_series),
    "random numbers": (Noisy, {}, draw_rows),
    "one number of samples": (OneSize, {}, draw_rows),
    "a classifier of transformers": (build_text, {"kind": "bert"}, draw_text),
    "a decoder of transformers": (build_text, {"kind": "gpt2"}, draw_text),
    "an encoder without logits": (build_text, {"kind": "encoder"}, draw_text),
}
