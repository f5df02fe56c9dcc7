"""Who trains: a process alone, or one of a group that shares every batch. Nobody else knows ranks.

A training of a group computes what one process would: every batch of the training's is divided
among the ranks, each rank's mean loss weighs by its part, and what is measured is summed, not
averaged twice. What a rank draws for its own samples (dropout, augmentation) is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainables.distributed.batch_norm import synchronise

T = TypeVar("T")
Address = tuple[str, int]

PATIENCE = timedelta(hours=12)
"""Of a collective; whoever drives the group sees a dead rank much earlier, and ends the rest."""


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, unlike that of any others."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch: the samples' indices, and what the mean over them weighs.

    The mean over the ranks of ``weight · mean over the part`` is the mean over the batch.
    ``everybodys`` batches are too small to be divided, and every rank trains on the whole.
    """

    samples: Tensor
    weight: float = 1.0
    everybodys: bool = False


class Meeting:
    """Where processes find each other, the first to name it being the one that holds it."""

    def __init__(self, address: Address, *, holds: bool) -> None:
        host, port = address
        self._store = dist.TCPStore(host, port, is_master=holds, wait_for_workers=False)  # type: ignore[attr-defined]  # torch exports it without saying so
        self.address: Address = host, self._store.port
        self._groups = 0

    @classmethod
    def here(cls, host: str) -> Self:
        """Hold one under this machine's own name, at a port that is free."""
        return cls((host, 0), holds=True)

    @classmethod
    def at(cls, address: Address) -> Self:
        """Come to one that another process holds."""
        return cls(address, holds=False)

    def room(self) -> Any:
        """A fresh store for each group, the same for every process in turn."""
        self._groups += 1
        return dist.PrefixStore(f"group {self._groups}", self._store)  # type: ignore[attr-defined]  # torch exports it without saying so


class Process:
    """One process alone."""

    rank = 0
    world = 1

    def draw_apart(self, *numbers: int) -> None:
        """From here on draw what is this rank's own; the first goes on as one alone would."""

    def share(self, batch: Tensor) -> Share:
        """This rank's part of a batch's indices."""
        return Share(batch)

    def begin(self, share: Share) -> None:
        """The coming step is on this part."""

    def turns(self, batches: Sequence[T]) -> Sequence[T]:
        """Of batches to be measured those that are this rank's."""
        return batches

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums over the ranks, the same on every one; a rank may lack a value."""
        return dict(values)

    def agree(self, value: T) -> T:
        """The first rank's value, on every rank."""
        return value

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network as a step calls it: gradients are averaged over the ranks."""
        return network

    def synchronised(self, network: nn.Module) -> nn.Module:
        """The network, its batch norms with the statistics of whole batches; done in place."""
        return network

    def align(self, network: nn.Module) -> None:
        """Give every rank the first one's buffers."""


class Group(Process):
    """One of several processes, each of which has called :meth:`join`."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._divided = True

    @classmethod
    def join(cls, meeting: Meeting, rank: int, world: int, device: str = "cpu") -> Self:
        """Become rank ``rank`` of ``world``; returns when all are there.

        Tensors on GPUs go by NCCL, everything on CPUs by gloo.
        """
        backend = "gloo" if device == "cpu" else f"cpu:gloo,{device}:nccl"
        dist.init_process_group(
            backend, store=meeting.room(), rank=rank, world_size=world, timeout=PATIENCE
        )
        return cls()

    def leave(self) -> None:
        """Be alone again; a group that something went wrong in is joined anew."""
        dist.destroy_process_group()

    def __deepcopy__(self, memo: object) -> Self:
        """A copied network stays in its group."""
        return self

    def draw_apart(self, *numbers: int) -> None:
        """Seeded by the numbers and the rank."""
        if self.rank:
            torch.manual_seed(seed_of(*numbers, self.rank))

    def share(self, batch: Tensor) -> Share:
        """Parts that differ by one sample at the most."""
        if len(batch) < self.world:
            return Share(batch, everybodys=True)
        part = batch.tensor_split(self.world)[self.rank]
        return Share(part, len(part) * self.world / len(batch))

    def begin(self, share: Share) -> None:
        """Statistics over a batch are sums over the ranks unless each has all of it."""
        self._divided = not share.everybodys

    def turns(self, batches: Sequence[T]) -> Sequence[T]:
        """Every ``world``-th: whole batches, for metrics that are means of one."""
        return batches[self.rank :: self.world]

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Added in the order of the ranks."""
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, dict(values))
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    def agree(self, value: T) -> T:
        """Broadcast; what the others hold is not looked at."""
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def parallel(self, network: nn.Module) -> nn.Module:
        """Torch's own; a parameter that a step does not reach is allowed, as it is for one."""
        return DistributedDataParallel(
            network, forward_sync_buffers=False, find_unused_parameters=True
        )

    def synchronised(self, network: nn.Module) -> nn.Module:
        """Batch norms that know the group."""
        return synchronise(network, self.total)

    def align(self, network: nn.Module) -> None:
        """A network's own buffers may follow the samples that a rank saw."""
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)

    def total(self, value: Tensor) -> Tensor:
        """The differentiable sum over the ranks; where all hold the same batch, the value."""
        return _Sum.apply(value) if self._divided else value  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _Sum(torch.autograd.Function):
    """All-reduce, whose gradient is the sum of the gradients."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
