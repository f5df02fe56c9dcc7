"""A recorded graph without calls that compute nothing new."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from trainables.lanes.calls import is_view

_aten = torch.ops.aten
_SWAPS = (_aten.transpose.int, _aten.t.default)
"""Views that, made twice, are none."""


def simplify(made: fx.GraphModule) -> None:
    """Leave out views of a tensor as it is, and calls that were made before, in place."""
    changes = any(_changes(node) for node in made.graph.nodes)
    known: dict[Any, fx.Node] = {}
    for node in made.graph.nodes:
        if node.op != "call_function":
            continue
        same = _find_same(node)
        if same is None and not changes:
            first = known.setdefault(_describe(node), node)
            same = None if first is node else first
        if same is not None:
            node.replace_all_uses_with(same)
    made.graph.eliminate_dead_code()
    made.recompile()


def _find_same(node: fx.Node) -> fx.Node | None:
    """What a view shows as it is."""
    if not (is_view(node.target) or node.target is _aten._unsafe_view.default):
        return None
    source = node.args[0]
    if not isinstance(source, fx.Node):
        return None
    if node.target in _SWAPS and source.target is node.target and source.args[1:] == node.args[1:]:
        source = source.args[0]
        assert isinstance(source, fx.Node)
    return source if _have_same_layout(node, source) else None


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
