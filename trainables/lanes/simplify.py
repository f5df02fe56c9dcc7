"""A recorded graph without calls that compute nothing new, and with less memory."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from trainables.lanes.batched_calls import is_view

_aten = torch.ops.aten
_SWAPS = (_aten.transpose.int, _aten.t.default)
"""Views that, made twice, are none."""
_IN_PLACE: Mapping[Any, Any] = {
    _aten.relu.default: _aten.relu_.default,
    _aten.mul.Tensor: _aten.mul_.Tensor,
    _aten.div.Tensor: _aten.div_.Tensor,
    _aten.add.Tensor: _aten.add_.Tensor,
    _aten.sub.Tensor: _aten.sub_.Tensor,
}
_MAKING_ROOM = (_aten.threshold_backward.default,)
"""Calls that can write their result into their first argument, as ``grad_input``."""


def simplify(made: fx.GraphModule) -> None:
    """Leave out, in place, views of a tensor as it is and calls that were made before.

    Results then take the memory of arguments that nothing reads any more.
    """
    _leave_out(made.graph)
    made.graph.eliminate_dead_code()
    _reuse_memory(made.graph)
    made.recompile()


def _leave_out(graph: fx.Graph) -> None:
    changed = {_find_root(node.args[0]) for node in graph.nodes if _changes(node)}
    known: dict[Any, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        same = _find_same(node)
        if same is None and changed.isdisjoint(map(_find_root, (node, *node.all_input_nodes))):
            first = known.setdefault(_describe(node), node)
            same = None if first is node else first
        if same is not None:
            node.replace_all_uses_with(same)


def _find_same(node: fx.Node) -> fx.Node | None:
    """What a view shows as it is."""
    source = node.args[0] if node.args else None
    if not (_is_view(node) and isinstance(source, fx.Node)):
        return None
    if node.target in _SWAPS and source.target is node.target and source.args[1:] == node.args[1:]:
        source = source.args[0]
        assert isinstance(source, fx.Node)
    return source if _have_same_layout(node, source) else None


def _reuse_memory(graph: fx.Graph) -> None:
    """Write results over the first arguments of calls that are their last readers."""
    last = {user: n for n, node in enumerate(graph.nodes) for user in node.all_input_nodes}
    readers: dict[fx.Node, int] = {}
    for node, number in last.items():
        root = _find_root(node)
        readers[root] = max(readers.get(root, 0), number)
    for number, node in enumerate(list(graph.nodes)):
        if node.target not in _IN_PLACE and node.target not in _MAKING_ROOM:
            continue
        first = node.args[0]
        if not (isinstance(first, fx.Node) and _have_same_layout(node, first)):
            continue
        root = _find_root(first)
        others = [_find_root(other) for other in _list_nodes(node.args[1:])]
        made_here = root.op == "call_function" and not _changes(root)
        if made_here and readers[root] == number and root not in others:
            _write_over(node, first)
            readers[root] = readers.get(node, number)


def _write_over(node: fx.Node, first: fx.Node) -> None:
    if node.target in _IN_PLACE:
        node.target = _IN_PLACE[node.target]
    else:
        node.target = _aten.threshold_backward.grad_input
        node.kwargs = {**node.kwargs, "grad_input": first}


def _list_nodes(values: Any) -> Iterator[fx.Node]:
    yield from (value for value in values if isinstance(value, fx.Node))


def _find_root(node: Any) -> Any:
    """The call or input whose memory a node shows."""
    while isinstance(node, fx.Node) and (_is_view(node) or _changes(node)):
        node = node.args[0]
    return node


def _is_view(node: fx.Node) -> bool:
    views = (_aten._unsafe_view.default, operator.getitem)
    return node.op == "call_function" and (is_view(node.target) or node.target in views)


def _have_same_layout(one: fx.Node, other: fx.Node) -> bool:
    mine, theirs = one.meta.get("val"), other.meta.get("val")
    if not (isinstance(mine, Tensor) and isinstance(theirs, Tensor)):
        return False
    layouts = ((t.shape, t.stride(), t.dtype, t.storage_offset()) for t in (mine, theirs))
    return len(set(layouts)) == 1


def _describe(node: fx.Node) -> Any:
    """What calls have in common that have the same results."""
    kwargs = tuple((name, _freeze(value)) for name, value in node.kwargs.items())
    return node.target, _freeze(node.args), kwargs


def _freeze(value: Any) -> Any:
    """A value to compare; 1 and 1.0 are different."""
    if isinstance(value, tuple | list):
        return tuple(map(_freeze, value))
    return value if isinstance(value, fx.Node) else (type(value), repr(value))


def _changes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and schema.is_mutable
