"""The arguments of the built-in networks, as far as their sizes are bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from search_spaces.bounds import Bounds, MaxItems, bounds_apply
from search_spaces.models import get_first_message

Width = Annotated[int, Bounds(1, 16_384)]
Widths = Annotated[tuple[Width, ...], MaxItems(100)]
_MOST_WEIGHTS = 1_000_000_000
"""Between hidden layers."""
_SIZES: Mapping[str, Mapping[str, TypeAdapter[Any]]] = {
    "trainables.models:MLP": {"hidden": TypeAdapter(Widths)},
    "trainables.models:CNN": {"channels": TypeAdapter(Widths), "hidden": TypeAdapter(Width)},
}


def find_size_problems(trainable: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Problems of the sizes of a built-in network, as (argument, message)."""
    if not bounds_apply():
        return
    for name, adapter in _SIZES.get(trainable, {}).items():
        if name not in arguments:
            continue
        try:
            read = adapter.validate_python(arguments[name])
        except ValidationError as error:
            yield name, get_first_message(error)
            continue
        widths = read if isinstance(read, tuple) else (read,)
        if sum(a * b for a, b in pairwise(widths)) > _MOST_WEIGHTS:
            yield name, f"these layers have more than {_MOST_WEIGHTS:,} weights together"
