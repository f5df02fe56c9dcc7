"""Forms of calls for many lanes have the bits of each lane alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from trainables.lanes import batched_calls
from trainables.lanes.batched_calls import Call, Form, Lanes, are_always_equal, call_together
from trainables.lanes.batching import choose_ways
from trainables.lanes.tracing import record

LANES = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [(2, 12, 9), (2, 40, 9), (1, 7, 2), (3, 12, 20), (64, 32, 48)])
def test_a_product_has_the_bits_of_each_lane_for_all_values(size: tuple[int, int, int]) -> None:
    """Batches of small matrices are added up in another way than one, with other bits for some."""
    rows, inner, columns = size
    ones, zeros = torch.ones(LANES, rows, inner), torch.zeros(LANES, inner, columns)
    graph = record(lambda one, other: [one @ other], [ones[0], zeros[0]]).graph
    [way] = choose_ways(graph, LANES, [[Lanes(ones), Lanes(zeros)]]).values()
    for _ in range(50):
        one, other = torch.randn_like(ones), torch.randn_like(zeros)
        call = Call(torch.ops.aten.mm.default, (Lanes(one), Lanes(other)), {}, LANES)
        made: Tensor = way.make(call).stack
        assert torch.equal(made, torch.stack(list(map(torch.mm, one, other))))


def test_a_product_is_compared_for_drawn_values_once_for_each_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def compare(form: Form, call: Call) -> bool:
        compared.append(call.args[1].stack.stride())
        return compare_drawn(form, call)

    compare_drawn = batched_calls._is_equal_for_others
    monkeypatch.setattr(batched_calls, "_is_equal_for_others", compare)
    monkeypatch.setattr(batched_calls, "_EQUAL", {})
    one, other = torch.rand(LANES, 64, 64), torch.rand(LANES, 64, 64)
    for second in (other, other + 1, other.mT):
        call = Call(torch.ops.aten.mm.default, (Lanes(one), Lanes(second)), {}, LANES)
        are_always_equal(call_together, call)
    assert compared == [other.stride(), other.mT.stride()]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    are_always_equal(call_together, call)
    assert compared[2:] == [other.mT.stride()]


def test_a_sum_in_another_order_is_found_whose_results_are_equal_by_chance() -> None:
    """Few sums of numbers that were of single precision need rounding in double."""

    def sum_backwards(call: Call) -> Lanes:
        stack = call.args[0].stack
        return Lanes(torch.stack([row.flip(0).cumsum(0)[-1] for row in stack]))

    values = Lanes(torch.randint(100, (LANES, 300)).double())
    call = Call(torch.ops.aten.sum.default, (values,), {}, LANES)
    assert torch.equal(sum_backwards(call).stack, values.stack.sum(1))
    assert not are_always_equal(sum_backwards, call)
    assert are_always_equal(call_together, call)


def test_a_sum_that_changes_its_argument_is_compared_for_other_values() -> None:
    def sum_backwards(call: Call) -> Lanes:
        whole, _, place, more = (getattr(arg, "stack", arg) for arg in call.args)
        for row, added in zip(whole, more, strict=True):
            row.index_add_(0, place.flip(0), added.flip(0))
        return Lanes(whole)

    whole, more = torch.zeros(LANES, 2, 9), torch.randint(9, (LANES, 30, 9)).float()
    args = (Lanes(whole), 0, torch.arange(30) % 2, Lanes(more))
    call = Call(torch.ops.aten.index_add_.default, args, {}, LANES)
    assert not are_always_equal(sum_backwards, call)
    assert are_always_equal(call_together, call)
    assert not whole.any()


def test_values_are_drawn_that_a_call_takes() -> None:
    """On a GPU, a loss of values that are no probabilities ends the process."""
    probabilities, targets = torch.rand(LANES, 64, 3), torch.rand(LANES, 64, 3).round()
    args = (Lanes(probabilities), Lanes(targets))
    call = Call(torch.ops.aten.binary_cross_entropy.default, args, {}, LANES)
    assert batched_calls._is_equal_for_others(batched_calls.call_apart, call)
    drawn = batched_calls._draw_like(Lanes(3 * probabilities)).stack
    assert drawn.amin() >= 0
    assert drawn.amax() > 1


def test_a_call_that_refuses_other_values_is_made_lane_by_lane() -> None:
    def call_each(call: Call) -> Lanes:
        return Lanes(torch.stack([_refuse_others(row) for row in call.args[0].stack]))

    call = Call(_refuse_others, (Lanes(torch.full((LANES, 3), 2.0)),), {}, LANES)
    assert not are_always_equal(call_each, call)


def _refuse_others(value: Tensor) -> Tensor:
    if (value != 2).any():
        raise RuntimeError("it takes nothing but 2")
    return value.sum()


def test_values_are_drawn_in_the_memory_layout_of_the_call() -> None:
    stack = torch.rand(LANES, 6, 7, 9)[:, :, 0]
    assert batched_calls._draw_like(Lanes(stack)).stack.stride() == stack.stride()


def test_a_recording_describes_its_results_without_fake_tensors() -> None:
    """Each of torch's takes as long as the rest of the recording."""
    graph = record(lambda one: [one.mul(2).relu(), one.sum()], [torch.ones(3)]).graph
    described = [n.meta["val"] for n in graph.graph.nodes if "val" in n.meta]
    assert [(type(value), value.device.type) for value in described] == [(Tensor, "meta")] * 4
