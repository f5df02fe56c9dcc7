"""Whether a regulariser fits the data, the targets and the network of a training."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.unknown_names import not_one_of
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.batch import LABELS
from trainables.data.nests import Nest, describe_nest, list_leaves, map_nest
from trainables.regularisers.base import Need, Regulariser
from trainables.regularisers.input_parts import describe_part, list_parts

_OF_INPUTS = {Need.FLOATS, Need.IMAGES}
_MOST_AXES = 2
"""Of targets that belong to whole samples: samples, and what each of them has."""


@dataclass(frozen=True)
class Offer:
    """What a training has for its regularisers: its data, a few samples, its network."""

    info: DataInfo
    x: Nest
    y: Nest
    model: nn.Module


def explain_misfit(regulariser: Regulariser, key: str, offer: Offer) -> str | None:
    """Why a regulariser cannot work with this training, for the user; None if it can.

    ``key`` is the name of the space's key for the parts of nested inputs; empty if it has none.
    """
    parts = list_parts(offer.x)
    text = _explain_parts(regulariser, key, parts)
    if text is not None:
        return text
    wanted = {part: parts.get(part) for part in regulariser.acts_on or ("",)}
    for part, values in wanted.items():
        text = _explain_discrete(regulariser.needs, part, values)
        text = text or regulariser.misfit(describe_part(offer.info, part), offer.model)
        text = text or next(_list_unmet(regulariser.needs, part, values, offer), None)
        if text is not None:
            return text
    return None


def _explain_parts(regulariser: Regulariser, key: str, parts: dict[str, Tensor]) -> str | None:
    """Why the parts that it is to act on are not those of the inputs."""
    if "" in parts:
        named = bool(regulariser.acts_on)
        return f"`{key}` names a part, but the inputs are one array; remove it" if named else None
    for part in regulariser.acts_on:
        if part not in parts:
            return f"`{key}`: {not_one_of(part, parts)}"
    if regulariser.acts_on or not regulariser.needs & _OF_INPUTS:
        return None
    fitting = [n for n, v in parts.items() if n != LABELS and _fits(regulariser.needs, v)]
    shown = ", ".join(f"{name} {describe_nest(v[0])}" for name, v in parts.items())
    if not fitting:
        return f"requires {_name_input(regulariser.needs)}; the inputs have none: {shown}"
    return f"acts on a part of nested inputs: set `{key}` to {' or '.join(fitting)} (of {shown})"


def _fits(needs: Collection[Need], values: Tensor) -> bool:
    info = DataInfo({"x": tuple(values.shape[1:])}, Task.OTHER, 0, Kind.OTHER)
    kind = describe_part(info, "x").kind
    return values.is_floating_point() and (Need.IMAGES not in needs or kind is Kind.IMAGE)


def _explain_discrete(needs: Collection[Need], part: str, values: Tensor | None) -> str | None:
    if values is None or not _OF_INPUTS.intersection(needs) or values.is_floating_point():
        return None
    return (
        f"requires {_name_input(needs)}; {_describe(part, values)}: whole numbers may be ids or "
        "codes, of which it would make others"
    )


def _describe(part: str, values: Tensor) -> str:
    """A part, or the inputs as a whole, with the type and shape of a sample."""
    return f"{f'the part {part} is' if part else 'the inputs are'} {describe_nest(values[0])}"


def _list_unmet(
    needs: Collection[Need], part: str, values: Tensor | None, offer: Offer
) -> Iterator[str]:
    """The needs of a part that is known, and of the targets, which are not met."""
    info = describe_part(offer.info, part)
    if values is not None and Need.IMAGES in needs and info.kind is not Kind.IMAGE:
        yield f"requires {Need.IMAGES.value}; {_describe(part, values)}"
    if Need.CLASSES in needs and info.task is not Task.CLASSIFICATION:
        yield f"requires {Need.CLASSES.value}; the task is {info.task}"
    if Need.ONE_TARGET in needs and any(y.ndim > _MOST_AXES for y in list_leaves(offer.y)):
        shown = describe_nest(map_nest(lambda y: y[0], offer.y))
        yield (
            f"requires {Need.ONE_TARGET.value}; those of a sample are {shown}, for its positions, "
            "which it would move away from"
        )


def _name_input(needs: Collection[Need]) -> str:
    return str((Need.IMAGES if Need.IMAGES in needs else Need.FLOATS).value)
