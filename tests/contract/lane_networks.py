"""Networks as users write them, which can share their steps or cannot."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Tensor, nn

from trainables.contract import Trainable
from trainables.loading import ModuleTrainable


def of(network: type[nn.Module]) -> Trainable:
    """A trainable of a network for 8 inputs and 2 outputs."""
    return ModuleTrainable(network, {})


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 9), nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).relu())  # type: ignore[no-any-return]  # nn.Module returns Any


class Unrepeatable(Plain):
    """Has other outputs each time, as sums in another order on a GPU have."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + 0.01 * next(_CALLS))


_CALLS = itertools.count()


class BatchNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(8, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.2), nn.Linear(9, 2)
        )


class NormsOfOneBatch(nn.Sequential):
    def __init__(self) -> None:
        norm = nn.BatchNorm1d(9, track_running_stats=False, affine=False)
        super().__init__(nn.Linear(8, 9, bias=False), norm, nn.Tanh(), nn.Linear(9, 2))


class LayerNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 9), nn.LayerNorm(9), nn.GELU(), nn.Linear(9, 2))


class Attention(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.view(-1, 2, 4)
        return super().forward(self.attention(tokens, tokens, tokens)[0].flatten(1))


class Encoder(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.layer(x.view(-1, 2, 4)).flatten(1))


class Tied(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.other(self.one(x).relu()))


class PartlyFrozen(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.hidden.weight.requires_grad_(False)
        self.unused = nn.Linear(3, 3)


class Convolutions(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Unflatten(1, (2, 4)),
            nn.Conv1d(2, 4, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.ConvTranspose1d(4, 2, 2, stride=2),
            nn.Unflatten(1, (1, 2)),
            nn.Conv2d(1, 3, (2, 3), stride=(1, 2), dilation=(1, 2)),
            nn.BatchNorm2d(3),
            nn.Unflatten(1, (1, 3)),
            nn.Conv3d(1, 2, (2, 1, 1), padding_mode="circular", padding=(1, 0, 0)),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(2, 2),
        )


class Embedded(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.table((x[:, 0] * 4).long()))


class Functional(Plain):
    def forward(self, x: Tensor) -> Tensor:
        noisy = x + 0.1 * torch.randn_like(x) if self.training else x
        return self.head(F.dropout(self.hidden(noisy).relu(), 0.3, self.training))  # type: ignore[no-any-return]  # nn.Module returns Any


class MovingMean(Plain):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return super().forward(x - self.mean)


class WeightNorm(Plain):
    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.hidden)


class Scaled(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)


class DropPath(nn.Module):
    """As timm writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_prob = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        kept = 1 - self.drop_prob
        mask = x.new_empty((x.shape[0], 1)).bernoulli_(kept)
        return x * mask.div_(kept)


class DropsBranches(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.branch, self.drop = nn.Linear(8, 8), DropPath()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.drop(self.branch(x)))


class Recurrent(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.RNN(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.layer(x.view(-1, 2, 4))[0].flatten(1))


class Gated(Recurrent):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 4, batch_first=True)  # type: ignore[assignment]  # of the same use


class LongShort(Recurrent):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 4, batch_first=True)  # type: ignore[assignment]  # of the same use


class LongShortCell(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.view(-1, 2, 4).unbind(1)
        return super().forward(self.cell(second, self.cell(first))[0])


class SpectralNorm(Plain):
    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrizations.spectral_norm(self.hidden)


class PlainAttention(Plain):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.view(-1, 1, 2, 4)
        made = F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)
        return super().forward(made.flatten(1))


FUSED = [
    *(Plain, BatchNorm, NormsOfOneBatch, LayerNorm, Attention, Encoder, Tied, PartlyFrozen),
    *(Convolutions, Embedded, Functional, MovingMean, WeightNorm, SpectralNorm),
    *(Recurrent, Gated, LongShortCell, PlainAttention),
]


class Branches(Plain):
    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        return made if made.sum() > 0 else -made


class ReadsValues(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / float(x.norm())


class Selects(Plain):
    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        return made * made[made.sum(1) > -99].mean()


class DrawsByValues(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.bernoulli(x.clamp(0, 1)))


class Counts(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (1 + self.calls % 2)


class KeepsPlainTensor(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(8)

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return super().forward(x - self.mean)


class CumulativeNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 9), nn.BatchNorm1d(9, momentum=None), nn.Linear(9, 2))


_PYTHON = "it uses the value of a tensor in Python"
REFUSED = [
    (Branches, "return made if made.sum() > 0 else -made)"),
    (ReadsValues, _PYTHON),
    (Selects, "the shape of a result depends on values (lane_networks.py, line "),
    (DrawsByValues, "it draws random numbers that depend on values (bernoulli) (lane_networks.py"),
    (Counts, "a pass changes `calls` of the network (Counts)"),
    (KeepsPlainTensor, "a pass changes `mean` of the network (KeepsPlainTensor)"),
    (CumulativeNorm, _PYTHON),
    (LongShort, "oneDNN computes nn.LSTM in one call, which is not shared; nn.GRU is"),
]


def count_in_python(outputs: Tensor, targets: Tensor) -> Tensor:
    """A metric that reads values in Python."""
    right = sum(int(a) == int(b) for a, b in zip(outputs.argmax(1), targets, strict=True))
    return torch.tensor(right / len(targets))
