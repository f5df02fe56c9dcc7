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


def test_a_recording_describes_its_results_without_fake_tensors() -> None:
    """Each of torch's takes as long as the rest of the recording."""
    graph = record(lambda one: [one.mul(2).relu(), one.sum()], [torch.ones(3)]).graph
    described = [n.meta["val"] for n in graph.graph.nodes if "val" in n.meta]
    assert [(type(value), value.device.type) for value in described] == [(Tensor, "meta")] * 4
