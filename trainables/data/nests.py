"""Nests of tensors or arrays: what a batch, its inputs or its targets may be.

A nest is a tensor or array, or a mapping, tuple, list or dataclass of nests. Other values (None,
text) are part of it and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils import _pytree as pytree

Nest = Any
"""A nest; the type cannot be written more precisely."""


class Inputs(tuple[Nest, ...]):
    """The inputs of a sample whose target stands in one tuple with them: ``(ids, mask, target)``.

    A nest like any tuple; the type tells it from the one input ``(ids, mask)`` of a pair.
    """


pytree.register_pytree_node(
    Inputs, lambda inputs: (list(inputs), None), lambda leaves, _: Inputs(leaves)
)


def map_nest(function: Callable[..., Any], nest: Nest, *others: Nest) -> Nest:
    """The nest with each leaf replaced by ``function(leaf, *leaves of the others)``.

    ``others`` have the same structure. Mappings become dicts; tuples, lists and dataclasses stay
    what they are.
    """
    if is_leaf(nest):
        return function(nest, *others)
    if isinstance(nest, Mapping):
        return {k: map_nest(function, v, *(o[k] for o in others)) for k, v in nest.items()}
    if isinstance(nest, tuple | list):
        made = [map_nest(function, *parts) for parts in zip(nest, *others, strict=True)]
        return type(nest)(*made) if hasattr(nest, "_fields") else type(nest)(made)
    if is_dataclass(nest) and not isinstance(nest, type):
        names = [f.name for f in fields(nest)]
        return replace(
            nest,
            **{n: map_nest(function, *(getattr(o, n) for o in (nest, *others))) for n in names},
        )
    return nest


def list_leaves(nest: Nest) -> Iterator[Any]:
    """The tensors or arrays of a nest, in order."""
    if is_leaf(nest):
        yield nest
    elif isinstance(nest, Mapping):
        for value in nest.values():
            yield from list_leaves(value)
    elif isinstance(nest, tuple | list):
        for value in nest:
            yield from list_leaves(value)
    elif is_dataclass(nest) and not isinstance(nest, type):
        for field in fields(nest):
            yield from list_leaves(getattr(nest, field.name))


def keep_arrays(nest: Nest) -> Nest:
    """The nest without those entries of a mapping that have no array, such as texts."""
    if not isinstance(nest, Mapping):
        return nest
    return {name: part for name, part in nest.items() if any(True for _ in list_leaves(part))}


def is_leaf(value: object) -> bool:
    """Whether it is a tensor or an array."""
    return isinstance(value, Tensor | np.ndarray)


def count_samples(nest: Nest) -> int:
    """The number of samples: the length of the leaves' first axis.

    Raises:
        ValueError: there are no leaves, one has no axis, or their lengths differ.
    """
    lengths = {tuple(leaf.shape[:1]) for leaf in list_leaves(nest)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"its tensors have {sorted(n for (n,) in lengths - {()})} samples"
            if lengths - {()}
            else "it has no tensor with samples"
        )
    return int(lengths.pop()[0])


def describe_nest(nest: Nest) -> str:
    """Types and shapes for an error: ``float32 (2, 1, 8, 8)``, ``{ids: int64 (2, 7)}``."""
    if is_leaf(nest):
        return f"{str(nest.dtype).removeprefix('torch.')} {tuple(nest.shape)}"
    if isinstance(nest, Mapping):
        return f"{{{', '.join(f'{k}: {describe_nest(v)}' for k, v in nest.items())}}}"
    if isinstance(nest, tuple | list):
        return f"({', '.join(map(describe_nest, nest))})"
    return type(nest).__name__
