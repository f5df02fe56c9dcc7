"""Named parts of nested inputs, on which regularisers act.

A part's name is the key of a mapping, the field of a dataclass, or the index in a tuple, with dots
between those of inner nests: ``image``, ``0``, ``views.1``. Inputs that are one tensor have no
parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from trainables.config.data_info import DataInfo, Kind
from trainables.data.encoding import CHANNELS
from trainables.data.nests import Nest, is_leaf


def list_parts(nest: Nest) -> dict[str, Tensor]:
    """The tensors of a nest by the names of their parts; one tensor has the empty name."""
    return dict(_walk(nest, ""))


def _walk(nest: Nest, place: str) -> Iterator[tuple[str, Tensor]]:
    if is_leaf(nest):
        yield place, nest
        return
    for name, inner in _list_children(nest).items():
        yield from _walk(inner, f"{place}.{name}" if place else name)


def change_parts(nest: Nest, parts: Sequence[str], change: Callable[[str, Any], Any]) -> Nest:
    """The nest with each of the parts replaced by ``change(name, part)``; the others are kept.

    Without parts, all of it is: ``change("", nest)``.
    """
    if not parts:
        return change("", nest)
    for part in parts:
        nest = _change(nest, part.split("."), partial(change, part))
    return nest


def _change(nest: Nest, path: Sequence[str], change: Callable[[Any], Any]) -> Nest:
    if not path:
        return change(nest)
    name, *rest = path
    changed = _change(_list_children(nest)[name], rest, change)
    if isinstance(nest, Mapping):
        return {key: changed if str(key) == name else value for key, value in nest.items()}
    if isinstance(nest, tuple | list):
        made = [changed if str(i) == name else value for i, value in enumerate(nest)]
        return type(nest)(*made) if hasattr(nest, "_fields") else type(nest)(made)
    return replace(nest, **{name: changed})


def describe_part(info: DataInfo, part: str) -> DataInfo:
    """The data as a regulariser sees them that acts on one part; all of them for the empty name."""
    if not part:
        return info
    shape: Any = info.input_shape
    for name in part.split("."):
        shape = _list_children(shape)[name]
    kinds = {1: Kind.TABLE, 3: Kind.IMAGE if shape[0] <= CHANNELS else Kind.OTHER}
    return replace(info, input_shape=shape, kind=kinds.get(len(shape), Kind.OTHER))


def _list_children(nest: Nest) -> Mapping[str, Any]:
    if isinstance(nest, Mapping):
        return {str(key): value for key, value in nest.items()}
    if isinstance(nest, tuple | list):
        return {str(index): value for index, value in enumerate(nest)}
    if is_dataclass(nest) and not isinstance(nest, type):
        return {f.name: getattr(nest, f.name) for f in fields(nest)}
    return {}
