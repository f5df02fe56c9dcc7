"""Real groups of processes on this machine, kept for a whole module of tests."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch

from service.base.ports import find_free_port
from tests.patience import patience
from trainables.distributed.process import Group, Rendezvous

T = TypeVar("T")


class Groups:
    """Runs a module's function in every rank of a group; a pool of processes serves them all."""

    def __init__(self, most: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # torch is imported once for all ranks
        self._pool = ProcessPoolExecutor(most, context)

    def run(self, world: int, function: Callable[..., T], *arguments: Any) -> list[T]:
        """What each rank's ``function(group, *arguments)`` returned, by rank."""
        port = find_free_port()
        ranks = [
            self._pool.submit(_in_group, port, rank, world, function, arguments)
            for rank in range(world)
        ]
        return [rank.result(timeout=patience(120)) for rank in ranks]

    def close(self) -> None:
        self._pool.shutdown()


def _in_group(
    port: int, rank: int, world: int, function: Callable[..., T], arguments: tuple[Any, ...]
) -> T:
    torch.set_num_threads(1)
    group = Group.join(Rendezvous(("127.0.0.1", port), is_host=rank == 0), rank, world)
    try:
        return function(group, *arguments)
    finally:
        group.leave()
