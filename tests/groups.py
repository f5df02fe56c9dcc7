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

    def __init__(self, most: int, *modules: str) -> None:
        """A pool for groups of that many ranks at most, which need these modules.

        The modules are imported once for all ranks, where no earlier pool of this process had some
        imported.
        """
        self._most, self._modules = most, modules
        self._pool = self._open()

    def run(self, world: int, function: Callable[..., T], *arguments: Any) -> list[T]:
        """What each rank's ``function(group, *arguments)`` returned, by rank.

        Ranks whose sockets gloo could not connect try once more.
        """
        try:
            return self._run(world, function, arguments)
        except RuntimeError as error:
            if "connectFullMesh" not in str(error):
                raise
            return self._run(world, function, arguments)

    def _run(self, world: int, function: Callable[..., T], arguments: tuple[Any, ...]) -> list[T]:
        port = find_free_port()
        ranks = [
            self._pool.submit(_in_group, port, rank, world, function, arguments)
            for rank in range(world)
        ]
        try:
            return [rank.result(timeout=patience(120)) for rank in ranks]
        except BaseException:  # the other ranks may wait for the one that failed
            self.close()
            self._pool = self._open()
            raise

    def _open(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, *self._modules])  # the first one imports torch
        return ProcessPoolExecutor(self._most, context)

    def close(self) -> None:
        """End the processes, also those that wait for others."""
        for process in list(self._pool._processes.values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)


def _in_group(
    port: int, rank: int, world: int, function: Callable[..., T], arguments: tuple[Any, ...]
) -> T:
    torch.set_num_threads(1)
    group = Group.join(Rendezvous(("127.0.0.1", port), is_host=rank == 0), rank, world)
    try:
        return function(group, *arguments)
    finally:
        group.leave()
