"""Programs that are replayed as graphs: what users see of them, without a GPU."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.lanes import replays
from trainables.lanes.batched_calls import Lanes
from trainables.lanes.batching import batch, choose_ways
from trainables.lanes.programs import Given, Program
from trainables.lanes.replays import Replays
from trainables.lanes.tracing import Recorded, record

LANES = 2


class FakeGraph(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Makes the calls of a capture again, into the same memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Add a call, and make it."""
        made = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, made))
        return made

    def capture_begin(self, **_: Any) -> None:
        self.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def capture_end(self) -> None:
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def replay(self) -> None:
        for func, args, kwargs, kept in self.calls:
            pytree.tree_map_(lambda one, new: one.copy_(new), kept, func(*args, **kwargs))


class FakeGpu:
    """A GPU, in which calls are made at once; ``mode`` is what a call that waits does."""

    mode: Any = "default"

    def wait_stream(self, _: Any) -> None:
        """Nothing waits."""

    def set(self, mode: Any) -> None:
        if mode == "error":
            warnings.warn("a prototype feature", stacklevel=2)
        self.mode = mode


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    made = FakeGpu()
    monkeypatch.setattr(replays, "_are_on_gpu", lambda _: True)
    monkeypatch.setattr(replays, "_find_stream", lambda: made)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: made)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: made.mode)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", made.set)
    return made


def count_and_multiply(count: Tensor, x: Tensor, y: Tensor) -> list[Tensor | None]:
    count.add_(1)
    return [x * y]


def build(stacks: list[Tensor], given: Given, kind: type[Program] = Program) -> Program:
    inputs = [*(stack.clone() for stack in stacks), *given.list_tensors()]
    recorded = record(count_and_multiply, [one[0].clone() for one in inputs])
    lanes = [Lanes(one) for one in inputs]
    ways = choose_ways(recorded.graph, LANES, [lanes])
    return kind(Recorded(recorded.graph, ()), batch(recorded.graph, LANES, ways, lanes))


def give(number: int) -> Given:
    return Given(torch.full((LANES, 3), float(number)), torch.ones(LANES, 3))


def run_four(kind: type[Program] = Program) -> tuple[list[float], Tensor]:
    """The results of four runs as they are after the last one, and how many are counted."""
    stacks = [torch.zeros(LANES, 1)]
    program, runner = build(stacks, give(0), kind), Replays(stacks, [])
    made = [runner.run(program, give(number))[0] for number in range(4)]
    return [float(one[0, 0]) for one in made if one is not None], stacks[0]


@pytest.mark.filterwarnings("error")
def test_results_stay_when_a_program_is_replayed() -> None:
    """A user's optimiser may keep a gradient."""
    found, counted = run_four()
    assert found == [0, 1, 2, 3]
    assert counted.eq(4).all()


def test_a_program_that_waits_for_the_gpu_is_not_captured(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(Program):
        def call(self, *inputs: Any) -> list[Tensor | None]:
            made = super().call(*inputs)
            if gpu.mode == "error":
                raise RuntimeError("called a synchronizing CUDA operation")
            return made

    monkeypatch.setattr(replays, "_Replay", None)
    found, counted = run_four(Waiting)
    assert found == [0, 1, 2, 3]
    assert counted.eq(4).all()
    assert gpu.mode == "default"


def test_random_numbers_go_on_after_a_capture_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's generator of a GPU stays in the capture otherwise."""
    renewed = []

    def fail(*_: Any) -> None:
        raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(FakeGraph, "capture_end", fail)
    monkeypatch.setattr(FakeGraph, "capture_begin", lambda *_, **__: None)
    monkeypatch.setattr(replays, "renew_generator", lambda: renewed.append(True))
    found, _ = run_four()  # the graph here makes its calls in a capture, too
    assert (found, renewed) == ([0, 1, 2, 3], [True])
