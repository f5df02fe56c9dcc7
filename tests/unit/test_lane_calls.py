"""Forms of calls for many lanes have the bits of each lane alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from trainables.lanes.batched_calls import Call, Lanes
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
