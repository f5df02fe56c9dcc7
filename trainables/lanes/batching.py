"""A recorded graph for many lanes at once, such that each lane has the bits of the graph alone.

Every call is tried for all lanes together. Where a lane would have other bits than alone, as a
sum in another order has, it is made for one lane after the other instead.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from trainables.errors import is_out_of_memory
from trainables.lanes.batched_calls import (
    Call,
    Form,
    Lanes,
    agree,
    are_always_equal,
    call_apart,
    copy_tensors,
    has_lanes,
    lay_out,
    list_forms,
    list_strides,
    pick_lane,
)
from trainables.lanes.calls_made import trace
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.simplify import simplify


@dataclass(frozen=True)
class Way:
    """How to make a call for all lanes; ``strides`` are those of each result in one lane."""

    form: Form
    strides: tuple[tuple[int, ...] | None, ...] = ()

    def make(self, call: Call) -> Any:
        """The results, each lane in the memory layout that it has alone."""
        return lay_out(self.form(call), self.strides)


def choose_ways(
    graph: fx.GraphModule, width: int, trials: Sequence[Sequence[Any]]
) -> dict[str, Way]:
    """How to make each call of a graph, by its node's name.

    ``trials`` are inputs of the graph, :class:`Lanes` or tensors that all lanes share. Each call
    is made in the first form that has the bits of each lane alone on all of them.

    Raises:
        CannotFuseError: there is none.
    """
    ways: dict[str, Way] = {}
    for inputs in trials:
        _Trial(width, ways).run(graph, inputs)
    return ways


class _Trial:
    """Runs a graph for all lanes and for each alone; forms that have other bits are given up."""

    def __init__(self, width: int, ways: dict[str, Way]) -> None:
        self._width, self._ways = width, ways
        self._together: dict[fx.Node, Any] = {}
        self._alone: list[dict[fx.Node, Any]] = [{} for _ in range(width)]

    def run(self, graph: fx.GraphModule, inputs: Sequence[Any]) -> None:
        """Try every call."""
        given, spent = iter(inputs), _list_spent(graph)
        for node in graph.graph.nodes:
            if node.op == "call_function":
                self._try(node)
            elif node.op != "output":
                value = next(given) if node.op == "placeholder" else getattr(graph, node.target)
                self._together[node] = copy_tensors(value)
                for lane, env in enumerate(self._alone):
                    env[node] = copy_tensors(pick_lane(value, lane))
            for done in spent.get(node, ()):
                for env in (self._together, *self._alone):
                    del env[done]

    def _try(self, node: fx.Node) -> None:
        call = _read_call(node, self._together, self._width)
        expected = [self._call_alone(node, env) for env in self._alone]
        if _is_plain(call):
            self._together[node] = call.target(*call.args, **call.kwargs)
            return
        strides = list_strides(node.target, expected[0][0])
        forms = list_forms(call)
        given_up = forms.index(self._ways[node.name].form) if node.name in self._ways else 0
        for form in forms[given_up:]:
            way = Way(form, strides)
            known = node.name in self._ways
            found = _make_equal(way, call, expected)
            if found is not None and (known or are_always_equal(form, call)):
                self._ways[node.name] = way
                self._together[node] = way.make(call) if call.changes else found.results
                return
        raise CannotFuseError(f"torch's {call.name} has no equal results for many trials at once")

    def _call_alone(self, node: fx.Node, env: dict[fx.Node, Any]) -> tuple[Any, ...]:
        """The result of a call for one lane, and its arguments afterwards."""
        call = _read_call(node, env, 1)
        env[node] = call.target(*call.args, **call.kwargs)
        return env[node], call.args, call.kwargs


@dataclass(frozen=True)
class _Made:
    results: Any


def _make_equal(way: Way, call: Call, expected: Sequence[tuple[Any, ...]]) -> _Made | None:
    """What a way makes, on copies of what the call changes; None if it has other bits."""
    call = call.copy() if call.changes else call
    try:
        made = way.make(call)
    except Exception as error:  # torch has no such form, and says so by several types
        if way.form is call_apart or is_out_of_memory(error):
            raise
        return None
    equal = not call.computes or agree((made, call.args, call.kwargs), expected)
    return _Made(made) if equal else None


def batch(
    graph: fx.GraphModule, width: int, ways: Mapping[str, Way], inputs: Sequence[Any]
) -> fx.GraphModule:
    """The graph for all lanes, as a graph of the stacks in ``inputs``.

    Its outputs are stacks ``(L, …)``, also of what all lanes share.
    """

    spent = _list_spent(graph)

    def run(*stacks: Tensor) -> list[Tensor | None]:
        env: dict[fx.Node, Any] = {}
        given = iter(zip(stacks, inputs, strict=True))
        for node in graph.graph.nodes:
            if node.op == "call_function":
                env[node] = _make(_read_call(node, env, width), ways.get(node.name))
            elif node.op == "placeholder":
                stack, example = next(given)
                env[node] = Lanes(stack) if isinstance(example, Lanes) else stack
            elif node.op == "get_attr":
                env[node] = getattr(graph, node.target)
            else:
                break
            for done in spent.get(node, ()):
                del env[done]
        outputs = graph.graph.output_node().args[0]
        return [_spread(v, width) for v in fx.node.map_arg(outputs, env.__getitem__)]  # type: ignore[union-attr]  # a recorded function returns a list

    copies = [(i.stack if isinstance(i, Lanes) else i).clone() for i in inputs]
    with torch.no_grad():
        made = trace(run, copies)
    simplify(made)
    return made


def _list_spent(graph: fx.GraphModule) -> dict[fx.Node, list[fx.Node]]:
    """For each node the values that no later one needs, which take as much memory as a step."""
    spent: dict[fx.Node, list[fx.Node]] = {}
    seen: set[fx.Node] = set()
    for node in reversed(graph.graph.nodes):
        spent[node] = [value for value in node.all_input_nodes if value not in seen]
        seen.update(node.all_input_nodes)
    return spent


def _make(call: Call, way: Way | None) -> Any:
    return call.target(*call.args, **call.kwargs) if way is None else way.make(call)


def _is_plain(call: Call) -> bool:
    """Whether a call is the same for all lanes, or only takes one of several results."""
    return call.target is operator.getitem or not has_lanes((call.args, call.kwargs))


def _read_call(node: fx.Node, env: Mapping[fx.Node, Any], width: int) -> Call:
    args: Any = fx.node.map_arg(node.args, env.__getitem__)
    kwargs: Any = fx.node.map_arg(node.kwargs, env.__getitem__)
    return Call(node.target, tuple(args), dict(kwargs), width)


def _spread(value: Any, width: int) -> Tensor | None:
    if isinstance(value, Lanes):
        return value.stack
    return None if value is None else value.expand(width, *value.shape)
