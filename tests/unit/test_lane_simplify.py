"""A simplified graph has the results of the graph, and overwrites nothing that is read later."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from trainables.lanes.simplify import simplify

Function = Callable[[Tensor, Tensor], list[Tensor]]


def views(x: Tensor, y: Tensor) -> list[Tensor]:
    """Views of a tensor as it is, and a view made back."""
    return [x.view(x.shape).t().t() @ y.expand(y.shape), x.t()]


def repeated(x: Tensor, y: Tensor) -> list[Tensor]:
    """A call twice."""
    return [(x * y).sum(0) + (x * y).sum(0)]


def reads_later(x: Tensor, y: Tensor) -> list[Tensor]:
    """Results that are read, or returned, after the next call."""
    doubled = x * 2
    added = doubled + y
    part = (x - y)[0]
    scaled = (x - y) * y
    return [doubled, added * added, scaled.relu() + doubled, part * 3, (x / y)[1:] * 2]


def parts(x: Tensor, y: Tensor) -> list[Tensor]:
    """Parts of a tensor, of which one is changed."""
    made = x * y
    first, second = made.split(2)
    return [first * 2, second * 3, made.sum(0)]


def changed(x: Tensor, y: Tensor) -> list[Tensor]:
    """A call on a tensor before and after it changes."""
    made = x * 1
    before = made.exp() * 1
    made.add_(y)
    return [before, made.exp()]


def backward(x: Tensor, y: Tensor) -> list[Tensor]:
    """A pass back through an activation whose result is returned."""
    leaf = x.detach().requires_grad_()
    active = (leaf * y).relu()
    (gradient,) = torch.autograd.grad((active * y).sum(), leaf)
    return [active.detach(), gradient]


@pytest.mark.parametrize("function", [views, repeated, reads_later, parts, changed, backward])
def test_the_results_stay(function: Function) -> None:
    x, y = (torch.randn(4, 4, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    wanted = function(x.clone(), y.clone())
    made = make_fx(function)(x.clone(), y.clone())
    before = len(made.graph.nodes)
    simplify(made)
    given = x.clone(), y.clone()
    with torch.no_grad():
        found = made(*given)
    assert all(map(torch.equal, found, wanted))
    assert torch.equal(given[0], x)
    assert torch.equal(given[1], y)
    assert len(made.graph.nodes) <= before


def test_less_is_called_and_written() -> None:
    made = make_fx(lambda x, y: [((x * y).view(x.shape).detach() + (x * y)).relu()])(
        torch.ones(4, 4), torch.ones(4, 4)
    )
    simplify(made)
    calls = [str(node.target) for node in made.graph.nodes if node.op == "call_function"]
    assert calls == ["aten.mul.Tensor", "aten.add.Tensor", "aten.relu_.default"]
