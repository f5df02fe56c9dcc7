"""The calls of torch that a function of tensors makes, as a graph.

Torch's ``make_fx`` lists the same calls, and describes each result by a fake tensor and a proxy,
which takes several times as long.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from trainables.compat import defer_compiler_in_mode, has_kernel
from trainables.lanes.reasons import READS_VALUES, CannotFuseError

_aten = torch.ops.aten
_Made = list[Tensor | None]


def trace(function: Callable[..., _Made], inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Call a function, and list the calls below autograd and ``vmap`` that it makes.

    ``meta["val"]`` of a node has the layout of its result, without values, and ``meta["device"]``
    where that is.

    Raises:
        CannotFuseError: the function reads the value of a tensor in Python, or a call has a result
            of a form that is not known.
    """
    tracer = _Tracer()
    for number, tensor in enumerate(inputs):
        tracer.keep(tensor, tracer.graph.placeholder(f"stack_{number}"))
    with tracer:
        outputs = function(*inputs)
    tracer.graph.output([tracer.find(output) for output in outputs])
    return fx.GraphModule(tracer.constants, tracer.graph)


@defer_compiler_in_mode
class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds every call to a graph, and makes it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.graph, self.constants = fx.Graph(), nn.Module()
        self._nodes, self._fixed = WeakIdKeyDictionary(), WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Add a call, and make it."""
        kwargs = kwargs or {}
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags:
            if self._depends(args, kwargs):
                raise CannotFuseError(READS_VALUES)
            return func(*args, **kwargs)
        fresh = func is _aten.lift_fresh.default
        if fresh:  # of a constant, which must stay as it is
            func = _aten.lift_fresh_copy.default
        given_args, given_kwargs = pytree.tree_map(self.find, (args, kwargs))
        node = self.graph.call_function(func, given_args, given_kwargs)
        made = func(*args, **kwargs)
        if fresh:
            self._fixed[made] = True
        if isinstance(made, Tensor):
            self.keep(made, node)
        elif isinstance(made, tuple | list):
            for number, part in enumerate(made):
                if isinstance(part, Tensor):
                    taken = self.graph.call_function(operator.getitem, (node, number))
                    self.keep(part, taken)
        elif made is not None:
            raise CannotFuseError(f"{func} has a result that is not a tensor")
        return made

    def _depends(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call reads what another one made or what the function is given."""
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        return any(t in self._nodes and t not in self._fixed for t in tensors)

    def keep(self, tensor: Tensor, node: fx.Node) -> None:
        """Remember the node that a tensor is the result of."""
        self._nodes[tensor] = node
        node.meta |= {"val": _describe(tensor), "device": tensor.device}

    def find(self, value: Any) -> Any:
        """The node of a tensor, which is a constant if there is none; other values as they are."""
        if not isinstance(value, Tensor):
            return value
        if value not in self._nodes:
            name = f"constant_{len(list(self.constants.buffers()))}"
            self.constants.register_buffer(name, value)
            self.keep(value, self.graph.get_attr(name))
        return self._nodes[value]


@cache
def _is_composite(func: Any) -> bool:
    """Whether a call is made of others, and has no code of its own for a device."""
    own = any(has_kernel(func, device) for device in ("CPU", "CUDA"))
    return has_kernel(func, "CompositeImplicitAutograd") and not own


def _describe(tensor: Tensor) -> Tensor:
    """The layout of a tensor, as one that has no memory."""
    made = torch.empty(0, dtype=tensor.dtype, device="meta")
    return made.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
