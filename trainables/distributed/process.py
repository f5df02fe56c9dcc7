"""The process that trains: a single one, or one of a group. No other module knows about ranks.

A group computes the same training as a single process: every batch is divided among the ranks, the
mean loss of each rank is weighted by the size of its part, and metrics are averaged over all
samples. Each rank draws its own random numbers for its samples (dropout, augmentation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree as pytree

from trainables.compat import defer_compiler_in_groups, seed_torch
from trainables.distributed.batch_norm import synchronise

T = TypeVar("T")
Address = tuple[str, int]

COLLECTIVE_TIMEOUT = timedelta(hours=12)
"""Timeout of a collective; the group's driver notices a dead rank earlier and ends the others."""


class Whole(nn.Module):
    """A network that can only be called, as one that several processes share."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.add_module("network", network)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the network."""
        return self.get_submodule("network")(*args, **kwargs)


def unwrap(network: nn.Module) -> nn.Module:
    """The user's network in a compiled or a parallel one."""
    match network:
        case DistributedDataParallel():
            return unwrap(network.module)
        case Whole() | _Showing():
            return unwrap(network.get_submodule("network"))
        case _Taking():
            return unwrap(network.shared)
        case nn.Module(_orig_mod=nn.Module() as compiled):
            return unwrap(compiled)
    return network


@lru_cache(4096)  # the trainings of a sweep have the same seeds, three an epoch
def derive_seed(*numbers: int) -> int:
    """A seed derived from several numbers; other numbers give another seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch: the indices of its samples, and the weight of their mean.

    The mean over the ranks of ``weight · mean over the part`` is the mean over the batch.
    ``replicated`` batches are too small to be divided: every rank trains on the whole batch.
    """

    samples: Tensor = field(default_factory=lambda: torch.arange(0))
    weight: float = 1.0
    replicated: bool = False

    @classmethod
    def of(cls, batch: Tensor, rank: int, world: int) -> Self:
        """A rank's part of a batch; the sizes of the parts differ by one sample at most."""
        if len(batch) < world:
            return cls(batch, replicated=True)
        part = batch.tensor_split(world)[rank]
        return cls(part, len(part) * world / len(batch))


class Rendezvous:
    """A TCP store through which processes form groups; one process hosts it."""

    def __init__(self, address: Address, *, is_host: bool) -> None:
        host, port = address
        self._store = dist.TCPStore(host, port, is_master=is_host, wait_for_workers=False)  # type: ignore[attr-defined]  # missing in the stubs of torch
        self.address: Address = host, self._store.port
        self._groups = 0

    @classmethod
    def host(cls, host: str) -> Self:
        """Host a rendezvous at this machine's ``host`` name and a free port."""
        return cls((host, 0), is_host=True)

    @classmethod
    def connect(cls, address: Address) -> Self:
        """Connect to the rendezvous that another process hosts."""
        return cls(address, is_host=False)

    def create_store(self) -> Any:
        """A new store for the next group; the n-th call returns the same store in every process."""
        self._groups += 1
        return dist.PrefixStore(f"group {self._groups}", self._store)  # type: ignore[attr-defined]  # missing in the stubs of torch


class Process:
    """A single process."""

    rank = 0
    world = 1

    def seed_rank(self, *numbers: int) -> None:
        """Seed torch for this rank; the first rank continues as a single process would."""

    def share(self, batch: Tensor) -> Share:
        """This rank's part of a batch's indices."""
        return Share(batch)

    def share_least(self, batch: Tensor) -> Share:
        """The smallest part that a rank has of a batch's indices."""
        return Share(batch)

    def begin_step(self, share: Share) -> None:
        """Prepare for a step on this part."""

    def select_batches(self, batches: Sequence[T]) -> Sequence[T]:
        """The batches that this rank measures."""
        return batches

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums over the ranks, equal on every rank; a rank may lack a value."""
        return dict(values)

    def gather(self, values: T) -> list[T]:
        """The values of all ranks, on every rank, with tensors on the CPU if there are several."""
        return [values]

    def broadcast(self, value: T) -> T:
        """The value of the first rank, on every rank."""
        return value

    def wrap_parallel(self, network: nn.Module) -> nn.Module:
        """The network that a step calls, with gradients averaged over the ranks."""
        return network

    def keep_gradients(self, network: nn.Module) -> AbstractContextManager[object]:
        """While it is entered, gradients of a network of ``wrap_parallel`` stay on each rank.

        The next backward pass outside of it averages what they add up to.
        """
        return nullcontext()

    def synchronise_batch_norms(self, network: nn.Module) -> nn.Module:
        """Make batch norms use the statistics of whole batches, in place."""
        return network

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Copy the buffers of the first rank to every rank."""


class Group(Process):
    """One of several processes, each of which has called :meth:`join`."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._divided = True

    @classmethod
    def join(cls, rendezvous: Rendezvous, rank: int, world: int, device: str = "cpu") -> Self:
        """Become rank ``rank`` of ``world``; returns when all processes have joined.

        NCCL transfers tensors on GPUs, gloo those on CPUs.
        """
        backend = "gloo" if device == "cpu" else f"cpu:gloo,{device}:nccl"
        dist.init_process_group(
            backend,
            store=rendezvous.create_store(),
            rank=rank,
            world_size=world,
            timeout=COLLECTIVE_TIMEOUT,
        )
        return cls()

    def leave(self) -> None:
        """Leave the group. After a failure, a new group must be joined."""
        dist.destroy_process_group()

    def __deepcopy__(self, memo: object) -> Self:
        """A copy of a network stays in the same group."""
        return self

    def seed_rank(self, *numbers: int) -> None:
        """Seed torch by the numbers and the rank."""
        if self.rank:
            seed_torch(derive_seed(*numbers, self.rank))

    def share(self, batch: Tensor) -> Share:
        """A part of the batch; the sizes of the parts differ by one sample at most."""
        return Share.of(batch, self.rank, self.world)

    def begin_step(self, share: Share) -> None:
        """Sum batch statistics over the ranks unless every rank has the whole batch."""
        self._divided = not share.replicated

    def select_batches(self, batches: Sequence[T]) -> Sequence[T]:
        """Every ``world``-th batch; all of them if there is not one for each rank."""
        return batches[self.rank :: self.world] if len(batches) >= self.world else batches

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums in the order of the ranks, which is the same on every rank."""
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, dict(values))
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    def gather(self, values: T) -> list[T]:
        """Gather in the order of the ranks."""
        parts: list[Any] = [None] * self.world
        moved = pytree.tree_map_only(Tensor, lambda tensor: tensor.cpu(), values)
        dist.all_gather_object(parts, moved)
        return parts

    def broadcast(self, value: T) -> T:
        """Broadcast the value of the first rank; the values of others are ignored."""
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def wrap_parallel(self, network: nn.Module) -> nn.Module:
        """Wrap in DistributedDataParallel; a step may leave parameters unused."""
        with defer_compiler_in_groups(DistributedDataParallel):
            shared = DistributedDataParallel(
                _Showing(network), forward_sync_buffers=False, find_unused_parameters=True
            )
        return _Taking(shared)

    def keep_gradients(self, network: nn.Module) -> AbstractContextManager[object]:
        """By ``no_sync`` of DistributedDataParallel."""
        assert isinstance(network, _Taking)
        made: AbstractContextManager[object] = network.shared.no_sync()
        return made

    def synchronise_batch_norms(self, network: nn.Module) -> nn.Module:
        """Replace batch norms by synchronised ones, in place."""
        return synchronise(network, self.total)

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Broadcast the buffers of the first rank; they may depend on the samples of a rank."""
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)

    def total(self, value: Tensor) -> Tensor:
        """The differentiable sum over the ranks; the value itself for a replicated batch."""
        return _Sum.apply(value) if self._divided else value  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _Showing(nn.Module):
    """Returns a network's outputs with the tensors in them, which DDP looks for.

    It looks into mappings, sequences and dataclasses, and not into other objects: it would take
    all parameters for unused.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
        """The outputs, and the values of their attributes."""
        made = self.network(*args, **kwargs)
        return made, list(getattr(made, "__dict__", {}).values())


class _Taking(nn.Module):
    """The outputs alone."""

    def __init__(self, shared: DistributedDataParallel) -> None:
        super().__init__()
        self.shared = shared

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the network."""
        made, _ = self.shared(*args, **kwargs)
        return made


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
