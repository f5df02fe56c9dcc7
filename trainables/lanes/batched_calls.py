"""Forms of one of torch's calls for many lanes, and whether they have the bits of each alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from trainables.compat import silence_vmap_fallback
from trainables.errors import is_out_of_memory

_aten = torch.ops.aten
silence_vmap_fallback()  # what has no rule of vmap's is compared with the calls of each lane, too
_EXACT = frozenset(
    (
        *("_to_copy", "abs", "add", "add_", "bitwise_and", "bitwise_not", "bitwise_or", "clamp"),
        *("clamp_max", "clamp_min", "clone", "copy", "copy_", "div", "div_", "eq", "fill", "fill_"),
        *("ge", "gt", "hardtanh", "le", "leaky_relu", "leaky_relu_backward", "logical_and"),
        *("logical_not", "logical_or", "lt", "masked_fill", "masked_fill_", "maximum", "minimum"),
        *("mul", "mul_", "ne", "neg", "relu", "relu_", "rsub", "sign", "sqrt", "sub", "sub_"),
        *("threshold_backward", "where", "zero_"),
    )
)
"""Calls on single entries whose results IEEE 754 fixes, however they are vectorised."""
VECTORS = 64
"""Entries that vectorised loops take at a time, at most; the rest is computed by other code."""
_CHANGING = (_aten.native_batch_norm.default,)
"""Calls that change arguments although their schemas do not say so."""
_ONE_BY_ONE = (_aten.convolution.default, _aten.convolution_backward.default)
"""Calls that torch makes for many lanes as a convolution of groups: other bits, and slower."""
_PRODUCTS = (_aten.mm.default, _aten.addmm.default)
_SAMPLED, _MOST_DRAWS = 2**14, 4
"""Entries of results to compare, at most of so many draws but for products: results of sums in
another order differ for some values only."""

_EQUAL: dict[Any, bool] = {}
"""Whether forms of calls had the bits of each lane for the values that were drawn, by call."""

_BY_ALIGNMENT = (
    *(_aten.mv.default, _aten.addmv.default, _aten.dot.default, _aten.vdot.default),
    _aten.addr.default,
)
"""Calls whose sums depend on where their arguments begin in memory."""

_UNINITIALISED = frozenset(
    ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
)


@dataclass(frozen=True)
class Lanes:
    """The values of a tensor in all lanes ``(L, …)``."""

    stack: Tensor


@dataclass(frozen=True)
class Call:
    """A call whose arguments may contain :class:`Lanes`; other tensors are equal in all lanes."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    width: int

    @property
    def name(self) -> str:
        """The name of the function, without an overload's."""
        return getattr(getattr(self.target, "overloadpacket", None), "__name__", "")

    @property
    def changes(self) -> bool:
        """Whether it changes an argument."""
        schema = getattr(self.target, "_schema", None)
        return self.target in _CHANGING or (schema is not None and schema.is_mutable)

    @property
    def computes(self) -> bool:
        """Whether it gives its results values: it neither views an argument nor only makes room."""
        return self.name not in _UNINITIALISED and not is_view(self.target)

    @property
    def leaves(self) -> list[Any]:
        """All values among its arguments."""
        return pytree.tree_leaves((self.args, self.kwargs))

    def copy(self) -> Call:
        """The same call on copies of its tensors."""
        args, kwargs = copy_tensors((self.args, self.kwargs))
        return Call(self.target, args, kwargs, self.width)


Form = Callable[[Call], Any]


def call_together(call: Call) -> Any:
    """The results, by one call for all lanes at once."""
    leaves, spec = pytree.tree_flatten((call.args, call.kwargs))
    places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Lanes)]

    def call_one(*values: Tensor) -> Any:
        filled = list(leaves)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        args, kwargs = pytree.tree_unflatten(filled, spec)
        return call.target(*args, **kwargs)

    made = torch.vmap(call_one)(*(leaves[place].stack for place in places))
    return pytree.tree_map_only(Tensor, Lanes, made)


def call_apart(call: Call) -> Any:
    """The results, by a call for one lane after the other."""
    return _call_each(call, list(_divide(call)))


def call_aligned(call: Call) -> Any:
    """As :func:`call_apart`, with arguments that begin where those of a training alone do."""
    return _call_each(call, [copy_tensors(each) for each in _divide(call)])


def _divide(call: Call) -> Iterator[tuple[Any, Any]]:
    """The arguments of each lane."""
    leaves, spec = pytree.tree_flatten((call.args, call.kwargs))
    columns = [_list_of_each(leaf, call.width) for leaf in leaves]
    for row in range(call.width):
        args, kwargs = pytree.tree_unflatten([column[row] for column in columns], spec)
        yield args, kwargs


def _list_of_each(leaf: Any, width: int) -> Sequence[Any]:
    return leaf.stack.unbind() if isinstance(leaf, Lanes) else [leaf] * width


def _call_each(call: Call, each: Sequence[tuple[Any, Any]]) -> Any:
    made = [call.target(*args, **kwargs) for args, kwargs in each]
    if call.changes and call.name.endswith("_"):
        return call.args[0]
    leaves, specs = zip(*(pytree.tree_flatten(one) for one in made), strict=True)
    return pytree.tree_unflatten([_join(parts) for parts in zip(*leaves, strict=True)], specs[0])


def call_product(call: Call) -> Any:
    """A layer's product plus its bias for all lanes, added up in the order of one lane's."""
    stacks = (
        a.stack if isinstance(a, Lanes) else a.expand(call.width, *a.shape) for a in call.args
    )
    bias, one, other = stacks
    return Lanes(torch.baddbmm(bias.unsqueeze(1) if bias.ndim == 2 else bias, one, other))


def list_forms(call: Call) -> list[Form]:
    """The forms of a call to try, the fastest first; the last one is lane by lane."""
    if call.target in _PRODUCTS:
        is_plain = call.target is _aten.addmm.default and len(call.args) == 3 and not call.kwargs
        return [call_product if is_plain else call_together, call_apart, call_aligned]
    if call.target in _BY_ALIGNMENT:
        return [call_aligned]
    if call.target in _ONE_BY_ONE or _depends_on_place(call):
        return [call_apart]
    return [call_together, call_apart]


def are_always_equal(form: Form, call: Call) -> bool:
    """Whether a form of a call that may sum has the bits of each lane for other values, too."""
    if form in (call_apart, call_aligned) or not _may_sum(call):
        return True
    how = torch.get_num_threads(), torch.get_float32_matmul_precision()
    key = (form, *_describe(call), *how)
    if key not in _EQUAL:
        made = [leaf.stack.numel() for leaf in pytree.tree_leaves(form(call.copy()))]
        draws = math.ceil(_SAMPLED / max(1, min(made, default=1)))
        if call.target not in _PRODUCTS:
            draws = min(draws, _MOST_DRAWS)
        _EQUAL[key] = all(_is_equal_for_others(form, call) for _ in range(draws))
    return _EQUAL[key]


def _may_sum(call: Call) -> bool:
    """Whether a result may depend on several entries of an argument of floating point."""
    if torch.Tag.pointwise in getattr(call.target, "tags", ()) or call.name in _EXACT:
        return False
    values = [leaf.stack if isinstance(leaf, Lanes) else leaf for leaf in call.leaves]
    tensors = [value for value in values if isinstance(value, Tensor)]
    return call.computes and any(tensor.is_floating_point() for tensor in tensors)


def _describe(call: Call) -> tuple[Any, ...]:
    """What the bits of a call depend on beside the values of its tensors."""
    leaves, spec = pytree.tree_flatten((call.args, call.kwargs))
    return call.target, call.width, repr(spec), tuple(map(_describe_leaf, leaves))


def _describe_leaf(leaf: Any) -> Any:
    if isinstance(leaf, Lanes):
        return Lanes, _describe_leaf(leaf.stack)
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device
    return type(leaf), leaf


def _is_equal_for_others(form: Form, call: Call) -> bool:
    args, kwargs = pytree.tree_map(_draw_like, (call.args, call.kwargs))
    drawn = Call(call.target, args, kwargs, call.width)
    each = [copy_tensors(one) for one in _divide(drawn)]  # a call may change its arguments
    try:
        alone = [(call.target(*args, **kwargs), args, kwargs) for args, kwargs in each]
        made = form(drawn)
        if call.changes:
            return agree((made, drawn.args, drawn.kwargs), alone)
        return agree(made, [one for one, *_ in alone])
    except Exception as error:  # torch refuses such values, by several types
        if is_out_of_memory(error):
            raise
        return False


def _draw_like(value: Any) -> Any:
    """Other values of floating point, in the same memory layout.

    None is negative, or above 1, if none was: torch refuses some as probabilities or variances, on
    a GPU for the rest of the process. Whole numbers, which may be indices, stay as they are.
    """
    if isinstance(value, Lanes):
        return Lanes(_draw_like(value.stack))
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    drawn = _copy(value).normal_()
    if not value.numel() or value.amin() < 0:
        return drawn
    return drawn.abs_() if value.amax() > 1 else drawn.uniform_()


def _depends_on_place(call: Call) -> bool:
    """Whether the rounding of an entry may depend on where it stands in memory."""
    if torch.Tag.pointwise not in getattr(call.target, "tags", ()):
        return False
    if call.name in _EXACT and call.kwargs.get("alpha", 1) == 1:
        return False
    return depends_on_place([leaf.stack[0] for leaf in call.leaves if isinstance(leaf, Lanes)])


def depends_on_place(each: Sequence[Tensor]) -> bool:
    """Whether the rounding of an entry of one lane's tensors may depend on where it lies.

    On a CPU, entries beyond whole vectors, of each thread, are computed by code that rounds in
    another way. A GPU computes every entry by the same code.
    """
    if all(tensor.is_cuda for tensor in each):
        return False
    return torch.get_num_threads() > 1 or any(tensor.numel() % VECTORS for tensor in each)


def has_lanes(values: Any) -> bool:
    """Whether lanes may differ in these values."""
    return any(isinstance(leaf, Lanes) for leaf in pytree.tree_leaves(values))


def pick_lane(values: Any, lane: int) -> Any:
    """The values of one lane."""
    return pytree.tree_map(lambda value: _pick(value, lane), values)


def _pick(value: Any, lane: int) -> Any:
    return value.stack[lane] if isinstance(value, Lanes) else value


def copy_tensors(values: Any) -> Any:
    """The values with copies of all tensors."""

    def copy(value: Any) -> Any:
        if isinstance(value, Lanes):
            return Lanes(_copy(value.stack))
        return _copy(value) if isinstance(value, Tensor) else value

    return pytree.tree_map(copy, values)


def _copy(tensor: Tensor) -> Tensor:
    """A copy in the same memory layout, also of a part of a tensor, which ``clone`` closes up."""
    if _is_dense(tensor) or 0 in tensor.stride():
        return tensor.clone()
    made = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return made.copy_(tensor)


def list_strides(target: Any, result: Any) -> tuple[tuple[int, ...] | None, ...]:
    """The strides of each result; None of a view, and of what has holes or overlaps."""
    views = is_view(target)
    return tuple(
        tuple(leaf.stride()) if not views and _is_dense(leaf) else None
        for leaf in pytree.tree_leaves(result)
    )


def is_view(target: Any) -> bool:
    """Whether the results of a call share the memory of an argument, which it does not change."""
    returns = getattr(getattr(target, "_schema", None), "returns", ())
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def lay_out(values: Any, strides: Iterable[tuple[int, ...] | None]) -> Any:
    """The values with each lane in these strides."""
    leaves, spec = pytree.tree_flatten(values)
    laid = [_lay_out(leaf, wanted) for leaf, wanted in zip(leaves, strides, strict=True)]
    return pytree.tree_unflatten(laid, spec)


def agree(found: Any, expected: Sequence[Any]) -> bool:
    """Whether each lane of what was found has the bits that are expected of it."""
    leaves = pytree.tree_leaves(found)
    rows = list(zip(*(pytree.tree_leaves(one) for one in expected), strict=True))
    same = len(leaves) == len(rows)
    return same and all(_is_same(leaf, row) for leaf, row in zip(leaves, rows, strict=True))


def _is_same(found: Any, parts: Sequence[Any]) -> bool:
    if not isinstance(parts[0], Tensor):
        return True
    wanted = torch.stack(list(parts))
    stack = found.stack if isinstance(found, Lanes) else found.expand_as(wanted)
    if stack.shape != wanted.shape or stack.dtype != wanted.dtype:
        return False
    return are_equal(stack, wanted)


def are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether all values are equal; NaN is equal to NaN."""
    same = one == other
    if one.is_floating_point() or one.is_complex():
        same = same | ((one != one) & (other != other))
    return bool(same.all())


def are_same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors have equal shapes and values, or there is neither."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and are_equal(one, other)


def _join(parts: Sequence[Any]) -> Any:
    """One stack of the lanes' results, each in the memory layout that it has alone."""
    first = parts[0]
    if not isinstance(first, Tensor):
        return first
    strides = first.stride()
    order = sorted(range(first.ndim), key=lambda axis: strides[axis], reverse=True)
    if order == list(range(first.ndim)):
        return Lanes(torch.stack(list(parts)))
    stack = torch.stack([part.permute(order) for part in parts])
    back = [order.index(axis) + 1 for axis in range(first.ndim)]
    return Lanes(stack.permute(0, *back))


def _is_dense(value: Any) -> bool:
    if not isinstance(value, Tensor):
        return False
    reach = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    return reach + 1 == value.numel()


def _lay_out(value: Any, strides: tuple[int, ...] | None) -> Any:
    if strides is None or not isinstance(value, Lanes):
        return value
    stack, size = value.stack, value.stack.shape[1:]
    pairs = zip(stack.stride()[1:], strides, size, strict=True)
    same = all(found == wanted for found, wanted, n in pairs if n > 1)
    if same and (len(stack) == 1 or stack.stride(0) >= size.numel()):
        return value
    made = torch.empty_strided(
        stack.shape, (size.numel(), *strides), dtype=stack.dtype, device=stack.device
    )
    return Lanes(made.copy_(stack))
