"""The calls that a function of tensors makes are those that torch's own recorder lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from trainables.lanes.batched_calls import are_same
from trainables.lanes.calls_made import trace
from trainables.lanes.reasons import CannotFuseError


def differentiate(x: Tensor, y: Tensor) -> list[Tensor | None]:
    weight = y.detach().clone().requires_grad_()
    loss = F.cross_entropy(x @ weight.tanh(), torch.tensor([0, 1, 2]))
    return [loss.detach(), *torch.autograd.grad(loss, [weight])]


def change(x: Tensor, y: Tensor) -> list[Tensor | None]:
    values, places = torch.sort(x)
    x[0].mul_(2)
    return [values.add_(y).relu_(), places, None]


def batch(x: Tensor, y: Tensor) -> list[Tensor | None]:
    return [torch.vmap(lambda row: F.softmax(row.view(3, 1) * y, 0).sum(1))(x)]


def describe(made: fx.GraphModule) -> list[Any]:
    """The calls of a graph that its outputs need, each with its arguments' numbers."""
    made.graph.eliminate_dead_code()
    numbers = {node: f"%{number}" for number, node in enumerate(made.graph.nodes)}
    find: Any = numbers.__getitem__
    return [
        (
            node.op,
            node.target if node.op == "call_function" else "",
            str(fx.node.map_arg((node.args, node.kwargs), find)),
        )
        for node in made.graph.nodes
    ]


@pytest.mark.parametrize("function", [differentiate, change, batch])
def test_calls_are_those_of_torchs_own_recorder(
    function: Callable[..., list[Tensor | None]],
) -> None:
    x, y = torch.rand(3, 3), torch.rand(3, 3)
    made = trace(function, [x.clone(), y])
    assert describe(made) == describe(make_fx(function)(x.clone(), y))
    for one, other in zip(made(x.clone(), y), function(x.clone(), y), strict=True):
        assert are_same(one, other)


def test_a_result_is_described_by_its_layout_without_values() -> None:
    made = trace(lambda x: [x.t()[1:]], [torch.rand(3, 4)])
    value = list(made.graph.nodes)[-2].meta["val"]
    layout = (value.shape, value.stride(), value.storage_offset(), value.device.type)
    assert layout == ((3, 3), (1, 4), 1, "meta")


def test_values_of_constants_may_be_read_and_no_others() -> None:
    made = trace(lambda x: [x * float(torch.tensor(3.0))], [torch.ones(2)])
    assert made(torch.ones(2))[0].tolist() == [3.0, 3.0]
    for read in (float, bool, lambda x: torch.equal(x, x)):
        with pytest.raises(CannotFuseError, match="uses the value of a tensor in Python"):
            trace(lambda x, read=read: [x * read(x.sum())], [torch.ones(2)])
