"""Programs of a block as CUDA graphs, of which a GPU makes all calls at once.

A shared step of many lanes has hundreds of small calls, each of which takes longer to launch than
to make. A graph makes them from the same memory, so that what it is given is copied there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from trainables.lanes.batched_calls import are_same
from trainables.lanes.programs import Given, Program
from trainables.lanes.random_states import RandomStates, renew_generator
from trainables.lanes.updates import restore


class Replays:
    """Runs programs on the stacks of a block; on a GPU as graphs, after the first run of each.

    A graph is used if it has the bits of the run that it is captured from.
    """

    def __init__(self, stacks: Sequence[Tensor], states: Sequence[RandomStates]) -> None:
        self._stacks, self._states = stacks, states
        self._known: dict[Program, _Replay | None] = {}
        self._begun: set[Program] = set()

    def run(self, program: Program, given: Given) -> list[Tensor | None]:
        """The outputs of a program."""
        if program not in self._known and program not in self._begun:
            self._begun.add(program)
            return program.run(self._stacks, given, self._states)
        values, drawn = given.list_tensors(), program.draw(self._states)
        if program not in self._known:
            return self._capture(program, values, drawn)
        replay = self._known[program]
        if replay is None:
            return program.call(self._stacks, values, drawn)
        return replay.run([*values, *drawn])

    def _capture(
        self, program: Program, values: Sequence[Tensor], drawn: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Capture a program in a run, and compare the two."""
        self._known[program] = None
        if not _are_on_gpu([*self._stacks, *values, *drawn]):
            return program.call(self._stacks, values, drawn)
        before = [stack.clone() for stack in self._stacks]
        try:
            with _refusing_to_wait():
                made = program.call(self._stacks, values, drawn)
        except RuntimeError:  # a failed capture would leave torch's allocator in a capture
            restore(self._stacks, before)
            return program.call(self._stacks, values, drawn)
        after = [stack.clone() for stack in self._stacks]
        try:
            replay = _Replay(program, self._stacks, values, drawn)
        except RuntimeError:  # a call that no graph can have, or too little memory
            renew_generator()
            return made
        restore(self._stacks, before)
        found = replay.run([*values, *drawn])
        if all(map(are_same, [*found, *self._stacks], [*made, *after])):
            self._known[program] = replay
        restore(self._stacks, after)
        return made


def _are_on_gpu(tensors: Sequence[Tensor]) -> bool:
    return all(tensor.is_cuda for tensor in tensors)


class _Replay:
    """A captured program, with the memory that it reads and writes."""

    def __init__(
        self,
        program: Program,
        stacks: Sequence[Tensor],
        values: Sequence[Tensor],
        drawn: Sequence[Tensor],
    ) -> None:
        self._inputs = [tensor.clone() for tensor in (*values, *drawn)]
        own_values, own_drawn = self._inputs[: len(values)], self._inputs[len(values) :]
        self._graph = torch.cuda.CUDAGraph()
        now, own = torch.cuda.current_stream(), _find_stream()
        own.wait_stream(now)
        with torch.cuda.stream(own):
            self._graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._made = program.call(stacks, own_values, own_drawn)
            finally:
                self._graph.capture_end()
        now.wait_stream(own)

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """The outputs, copies: the graph's next run writes to its own, which users may keep."""
        restore(self._inputs, inputs)
        self._graph.replay()
        return [None if made is None else made.clone() for made in self._made]


@cache
def _find_stream() -> torch.cuda.Stream:
    """The stream of all captures: cuBLAS keeps memory for each stream that it was used on."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped


@contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """Let calls raise that wait for the GPU, which no graph can have."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch says that it does not notice every such call
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
