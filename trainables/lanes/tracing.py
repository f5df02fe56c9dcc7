"""What one lane computes, recorded as a graph of the calls that torch makes for it alone.

Random numbers are inputs of the graph: each lane draws its own, in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.compat import defer_compiler_in_mode
from trainables.lanes.calls_made import trace
from trainables.lanes.random_states import RandomStates
from trainables.lanes.reasons import CannotFuseError, explain

Function = Callable[..., list[Tensor | None]]
_FACTORIES = ("empty", "empty_like", "new_empty", "empty_strided")


@dataclass(frozen=True)
class Layout:
    """The shape, strides and type of a tensor whose values do not matter."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def make(self) -> Tensor:
        """A tensor of this layout, of any values."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=self.device)


_RAND = torch.ops.aten.rand.default


@dataclass(frozen=True)
class Draw:
    """A call that draws random numbers from torch's generator."""

    target: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def take_each(self, states: Sequence[RandomStates]) -> Tensor:
        """Draw with the random numbers of each; a stack of the draws."""
        if self.target is _RAND and set(self.options) <= {"device", "pin_memory"}:
            device = self.options.get("device")
            stack = torch.empty((len(states), *self.arguments[0]), device=device)
            for row, state in zip(stack.unbind(), states, strict=True):
                row.uniform_(generator=state.of(row.device))  # which is what torch.rand does
            return stack
        return torch.stack([self._take_from(state) for state in states])

    def _take_from(self, state: RandomStates) -> Tensor:
        with state.drawing():
            return self.take()

    def take(self) -> Tensor:
        """Draw."""
        arguments = [a.make() if isinstance(a, Layout) else a for a in self.arguments]
        drawn: Tensor = self.target(*arguments, **self.options)
        return drawn


@dataclass(frozen=True)
class Recorded:
    """A graph of ATen calls, whose last inputs are what ``draws`` draw."""

    graph: fx.GraphModule
    draws: tuple[Draw, ...]


def record(function: Function, inputs: Sequence[Tensor]) -> Recorded:
    """Run a function of tensors, which may change them, and record its calls.

    Raises:
        CannotFuseError: what it does depends on values, so that a recording is not the function.
    """
    try:
        made = trace(_watched(function), inputs)
    except Exception as error:
        raise explain(error) from error
    return Recorded(made, tuple(_extract_draws(made)))


def is_random(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call draws from torch's generator: attention without dropout does not."""
    if torch.Tag.nondeterministic_seeded not in getattr(target, "tags", ()):
        return False
    names = [argument.name for argument in target._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return "dropout_p" not in names or bool(given.get("dropout_p", 0.0))


@defer_compiler_in_mode
class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Refuses calls whose results a recording cannot have for other values."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Check a call, and make it."""
        if torch.Tag.dynamic_output_shape in func.tags:
            raise CannotFuseError("the shape of a result depends on values")
        random = is_random(func, args, kwargs or {})
        if random and not _draws_by_shape(func, args, kwargs or {}):
            raise CannotFuseError(
                f"it draws random numbers that depend on values ({func.overloadpacket.__name__})"
            )
        return func(*args, **(kwargs or {}))


def _watched(function: Function) -> Function:
    def watched(*inputs: Tensor) -> list[Tensor | None]:
        with _Watch():  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return function(*inputs)

    return watched


def _draws_by_shape(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call needs no values: it fills its first argument, or makes one like it."""
    tensors = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
    name = func.overloadpacket.__name__
    first = bool(args) and isinstance(args[0], Tensor)
    return not tensors or (len(tensors) == 1 and first and name.endswith(("_", "_like")))


def _extract_draws(made: fx.GraphModule) -> list[Draw]:
    """Make the random numbers of a graph its last inputs."""
    graph, draws = made.graph, []
    last = [n for n in graph.nodes if n.op == "placeholder"][-1]
    for node in list(graph.nodes):
        if node.op != "call_function" or not is_random(node.target, node.args, node.kwargs):
            continue
        draws.append(Draw(node.target, _read_arguments(node), dict(node.kwargs)))
        with graph.inserting_after(last):
            last = graph.placeholder(f"draw_{len(draws)}")
        _put_in_place(graph, node, last)
    graph.eliminate_dead_code()
    made.recompile()
    return draws


def _put_in_place(graph: fx.Graph, node: fx.Node, drawn: fx.Node) -> None:
    """Use a drawn tensor where a call drew it, perhaps into a part of another tensor."""
    given = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
    in_place = given is not None and str(node.target).rpartition(".")[0].endswith("_")
    fresh = given is None or (_name(given) in _FACTORIES and len(given.users) == 1)
    if in_place and not fresh:
        with graph.inserting_before(node):
            drawn = graph.call_function(torch.ops.aten.copy_.default, (given, drawn))
    node.replace_all_uses_with(drawn)
    graph.erase_node(node)


def _read_arguments(node: fx.Node) -> tuple[Any, ...]:
    """The arguments of a call, with layouts in place of tensors."""
    read: Any = lambda argument: _read_layout(argument.meta)  # noqa: E731  # typed as torch wants it
    arguments: Any = fx.node.map_arg(node.args, read)
    return tuple(arguments)


def _name(node: fx.Node) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return getattr(packet, "__name__", "")


def _read_layout(meta: Mapping[str, Any]) -> Layout:
    value = meta["val"]
    return Layout(tuple(value.shape), tuple(value.stride()), value.dtype, meta["device"])
