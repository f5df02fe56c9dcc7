"""A recorded graph for many lanes at once, such that each lane has the bits of the graph alone.

Every call is tried for all lanes together. Where a lane would have other bits than alone, as a
product or a sum in another order has, it is made for one lane after the other instead.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from trainables.lanes.reasons import CannotFuseError

_aten = torch.ops.aten
_EXACT = frozenset(
    "add sub rsub mul div neg abs relu relu_ threshold_backward where ge gt le lt eq ne clone copy_ "
    "copy clamp clamp_min clamp_max maximum minimum sign sqrt fill fill_ zero_ add_ sub_ mul_ div_ "
    "logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or masked_fill "
    "masked_fill_ _to_copy hardtanh leaky_relu leaky_relu_backward".split()
)
"""Calls on single entries whose results IEEE 754 fixes, however they are vectorised."""
_VECTORS = 64
"""Entries that vectorised loops take at a time, at most; the rest is computed by other code."""
_CHANGING = (_aten.native_batch_norm.default,)
"""Calls that change arguments although their schemas do not say so."""


@dataclass(frozen=True)
class Lanes:
    """The values of a tensor in all lanes ``(L, …)``."""

    stack: Tensor


Call = Callable[[Any, tuple[Any, ...], dict[str, Any], int], Any]


def call_together(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], width: int) -> Any:
    """Call a function for all lanes at once."""
    leaves, spec = pytree.tree_flatten((args, kwargs))
    places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Lanes)]

    def call(*values: Tensor) -> Any:
        filled = list(leaves)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        made_args, made_kwargs = pytree.tree_unflatten(filled, spec)
        return target(*made_args, **made_kwargs)

    made = torch.vmap(call)(*(leaves[place].stack for place in places))
    return pytree.tree_map_only(Tensor, Lanes, made)


def call_apart(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], width: int) -> Any:
    """Call a function for one lane after the other."""
    made = [target(*_pick(args, lane), **_pick(kwargs, lane)) for lane in range(width)]
    if _is_in_place(target):
        return args[0]
    leaves, specs = zip(*(pytree.tree_flatten(one) for one in made), strict=True)
    joined = [_join(parts) for parts in zip(*leaves, strict=True)]
    return pytree.tree_unflatten(joined, specs[0])


def call_product(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], width: int) -> Any:
    """A layer's product plus its bias for all lanes, added up as for one."""
    bias, one, other = (
        a.stack if isinstance(a, Lanes) else a.expand(width, *a.shape) for a in args
    )
    return Lanes(torch.baddbmm(bias.unsqueeze(1) if bias.ndim == 2 else bias, one, other))


def _list_calls(node: fx.Node, args: Any, kwargs: Any) -> list[Call]:
    """The ways to make a call, the fastest first; the last one has a lane's bits."""
    if node.target is _aten.addmm.default and len(args) == 3 and not kwargs:
        return [call_product, call_together, call_apart]
    if _may_differ_by_place(node, args, kwargs):
        return [call_apart]
    return [call_together, call_apart]


def _may_differ_by_place(node: fx.Node, args: Any, kwargs: Any) -> bool:
    """Whether an entry's rounding depends on where it stands in memory."""
    target = node.target
    if torch.Tag.pointwise not in getattr(target, "tags", ()):
        return False
    leaves = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Lanes)]
    name = target.overloadpacket.__name__  # type: ignore[union-attr]  # tags are an overload's
    if name in _EXACT and kwargs.get("alpha", 1) == 1:
        return False
    if not leaves[0].stack.is_floating_point():
        return False
    sizes = {leaf.stack[0].numel() for leaf in leaves}
    return torch.get_num_threads() > 1 or any(size % _VECTORS for size in sizes)


@dataclass(frozen=True)
class Way:
    """How to make a call for all lanes; ``strides`` are those of each result in one lane."""

    call: Call
    strides: tuple[tuple[int, ...] | None, ...] = ()

    def make(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], width: int) -> Any:
        """The results, each lane in the memory layout that it has alone."""
        leaves, spec = pytree.tree_flatten(self.call(target, args, kwargs, width))
        laid = [_lay_out(leaf, s) for leaf, s in zip(leaves, self.strides, strict=True)]
        return pytree.tree_unflatten(laid, spec)


def choose_ways(
    graph: fx.GraphModule, width: int, trials: Sequence[Sequence[Any]]
) -> dict[str, Way]:
    """How to make each call of a graph, by its node's name.

    ``trials`` are inputs of the graph, :class:`Lanes` or tensors that all lanes share. Each call
    is made in the first way that has the bits of each lane alone on all of them.

    Raises:
        CannotFuseError: there is none.
    """
    ways: dict[str, Way] = {}
    for inputs in trials:
        _Trial(width, ways).run(graph, inputs)
    return ways


class _Trial:
    """Runs a graph for all lanes and for each alone; ways that have other bits are given up."""

    def __init__(self, width: int, ways: dict[str, Way]) -> None:
        self._width, self._ways = width, ways
        self._together: dict[fx.Node, Any] = {}
        self._alone: list[dict[fx.Node, Any]] = [{} for _ in range(width)]

    def run(self, graph: fx.GraphModule, inputs: Sequence[Any]) -> None:
        """Try every call."""
        given = iter(inputs)
        for node in graph.graph.nodes:
            if node.op == "call_function":
                self._try(node)
            elif node.op != "output":
                value = next(given) if node.op == "placeholder" else getattr(graph, node.target)
                self._together[node] = _copy(value)
                for lane, env in enumerate(self._alone):
                    env[node] = _copy(_pick(value, lane))

    def _try(self, node: fx.Node) -> None:
        args, kwargs = _fill(node, self._together)
        expected = [self._call_alone(node, env) for env in self._alone]
        if node.target is operator.getitem or not _has_lanes((args, kwargs)):
            self._together[node] = node.target(*args, **kwargs)  # type: ignore[operator]  # of a call
            return
        strides = _list_strides(node.target, expected[0][0])
        calls = _list_calls(node, args, kwargs)
        given_up = calls.index(self._ways[node.name].call) if node.name in self._ways else 0
        for call in calls[given_up:]:
            way = Way(call, strides)
            if self._agrees(way, node.target, args, kwargs, expected):
                self._ways[node.name] = way
                self._together[node] = way.make(node.target, args, kwargs, self._width)
                return
        raise CannotFuseError(f"{node.target} has other results for a part of a larger tensor")

    def _call_alone(self, node: fx.Node, env: dict[fx.Node, Any]) -> tuple[Any, ...]:
        """The result of a call for one lane, and its arguments afterwards."""
        args, kwargs = _fill(node, env)
        env[node] = node.target(*args, **kwargs)  # type: ignore[operator]  # of a call
        return env[node], args, kwargs

    def _agrees(
        self, way: Way, target: Any, args: Any, kwargs: Any, expected: Sequence[tuple[Any, ...]]
    ) -> bool:
        mine = _copy((args, kwargs)) if _changes(target) else (args, kwargs)
        try:
            made = way.make(target, *mine, self._width)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            if way.call is call_apart:
                raise
            return False  # torch has no form of this call for many lanes
        return _agree((made, *mine), expected)


def _list_strides(target: Any, result: Any) -> tuple[tuple[int, ...] | None, ...]:
    """The strides of each result; None of a view, and of what has holes or overlaps."""
    returns = getattr(getattr(target, "_schema", None), "returns", ())
    is_view = any(r.alias_info is not None for r in returns)
    leaves = pytree.tree_leaves(result)
    return tuple(
        tuple(leaf.stride()) if not is_view and _is_dense(leaf) else None for leaf in leaves
    )


def _is_dense(value: Any) -> bool:
    if not isinstance(value, Tensor):
        return False
    reach = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    return reach + 1 == value.numel()


def _lay_out(value: Any, strides: tuple[int, ...] | None) -> Any:
    if strides is None or not isinstance(value, Lanes):
        return value
    stack, size = value.stack, value.stack.shape[1:]
    found = (*stack.stride()[1:],)
    same = all(a == b for a, b, n in zip(found, strides, size, strict=True) if n > 1)
    if same and (len(stack) == 1 or stack.stride(0) >= size.numel()):
        return value
    made = torch.empty_strided(
        stack.shape, (size.numel(), *strides), dtype=stack.dtype, device=stack.device
    )
    return Lanes(made.copy_(stack))


def batch(
    graph: fx.GraphModule, width: int, ways: Mapping[str, Way], inputs: Sequence[Any]
) -> fx.GraphModule:
    """The graph for all lanes, as a graph of the stacks in ``inputs``.

    Its outputs are stacks ``(L, …)``, also of what all lanes share.
    """

    def run(*stacks: Tensor) -> list[Tensor | None]:
        env: dict[fx.Node, Any] = {}
        given = iter(zip(stacks, inputs, strict=True))
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                stack, example = next(given)
                env[node] = Lanes(stack) if isinstance(example, Lanes) else stack
            elif node.op == "get_attr":
                env[node] = getattr(graph, node.target)
            elif node.op == "call_function":
                args, kwargs = _fill(node, env)
                way = ways.get(node.name)
                env[node] = (
                    node.target(*args, **kwargs)
                    if way is None
                    else way.make(node.target, args, kwargs, width)
                )
            elif node.op == "output":
                return [_spread(v, width) for v in fx.node.map_arg(node.args[0], env.__getitem__)]
        raise AssertionError("a graph ends with its output")

    copies = [(i.stack if isinstance(i, Lanes) else i).clone() for i in inputs]
    with torch.no_grad():
        made = make_fx(run)(*copies)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made


def _spread(value: Any, width: int) -> Tensor | None:
    if isinstance(value, Lanes):
        return value.stack
    return None if value is None else value.expand(width, *value.shape)


def _fill(node: fx.Node, env: Mapping[fx.Node, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (
        fx.node.map_arg(node.args, env.__getitem__),
        dict(fx.node.map_arg(node.kwargs, env.__getitem__)),
    )


def _has_lanes(values: Any) -> bool:
    return any(isinstance(leaf, Lanes) for leaf in pytree.tree_leaves(values))


def _pick(values: Any, lane: int) -> Any:
    """The values of one lane."""
    return pytree.tree_map(lambda v: v.stack[lane] if isinstance(v, Lanes) else v, values)


def _copy(values: Any) -> Any:
    def copy(value: Any) -> Any:
        if isinstance(value, Lanes):
            return Lanes(value.stack.clone())
        return value.clone() if isinstance(value, Tensor) else value

    return pytree.tree_map(copy, values)


def _join(parts: Sequence[Any]) -> Any:
    """One stack of the lanes' results, each in the memory layout that it has alone."""
    first = parts[0]
    if not isinstance(first, Tensor):
        return first
    order = sorted(range(first.ndim), key=lambda axis: -first.stride(axis))
    if order == list(range(first.ndim)):
        return Lanes(torch.stack(list(parts)))
    stack = torch.stack([part.permute(order) for part in parts])
    back = [order.index(axis) + 1 for axis in range(first.ndim)]
    return Lanes(stack.permute(0, *back))


def _changes(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return target in _CHANGING or (schema is not None and schema.is_mutable)


def _is_in_place(target: Any) -> bool:
    packet = getattr(target, "overloadpacket", None)
    name = getattr(packet, "__name__", "")
    return name.endswith("_") and not name.endswith("__") and _changes(target)


def _agree(found: Any, expected: Sequence[Any]) -> bool:
    """Whether each lane of what was found has the bits of what is expected of it."""
    leaves = pytree.tree_leaves(found)
    rows = list(zip(*(pytree.tree_leaves(one) for one in expected), strict=True))
    if len(leaves) != len(rows):
        return False
    return all(_is_same(leaf, row) for leaf, row in zip(leaves, rows, strict=True))


def _is_same(found: Any, parts: Sequence[Any]) -> bool:
    if not isinstance(parts[0], Tensor):
        return True
    wanted = torch.stack(list(parts))
    stack = found.stack if isinstance(found, Lanes) else found.expand_as(wanted)
    if stack.shape != wanted.shape or stack.dtype != wanted.dtype:
        return False
    same = stack == wanted
    if wanted.is_floating_point():
        same = same | (stack.isnan() & wanted.isnan())
    return bool(same.all())
