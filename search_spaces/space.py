"""The search space: named parameters and the conditions under which each exists."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import ConfigDict, Field, RootModel, model_validator
from pydantic_core import ValidationError

from search_spaces.bounds import bounds_apply
from search_spaces.consistency import find_inconsistencies, find_overlaps
from search_spaces.dimensions import Dimension, divide
from search_spaces.kinds import Parameter, list_parents
from search_spaces.models import Problems
from search_spaces.parsing import complete_auto, parse_parameter
from search_spaces.requirements import Requirements, can_be_met, find_requirements, imply, join
from search_spaces.values import Value, is_same

_MOST_PARAMETERS = 200


class SearchSpace(RootModel[dict[str, Annotated[Parameter, Field(union_mode="left_to_right")]]]):
    """Named parameters, each with a range and conditions, checked for consistency.

    All problems of all parameters are reported at once, each at its parameter's location.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _parse(cls, raw: Any, build: Any) -> SearchSpace:
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            raise ValueError("a space maps names to parameters, e.g. `dropout: {float: [0, 0.5]}`")
        if len(raw) > _MOST_PARAMETERS and bounds_apply():
            raise ValueError(f"has {len(raw):,} parameters; at most {_MOST_PARAMETERS} are allowed")
        found: dict[str, Parameter] = {}
        problems = Problems()
        for name, definition in raw.items():
            try:
                found[str(name)] = parse_parameter(str(name), definition)
            except ValidationError as error:
                problems.add_errors(error, (str(name),))
        found = {name: complete_auto(parameter, found) for name, parameter in found.items()}
        if not problems:
            for place, describe in find_inconsistencies(found):
                problems.add(place, describe, place[0])
        problems.raise_any("SearchSpace")
        space: SearchSpace = build(found)
        if bounds_apply():  # a stored space was checked, and a stranger's might take long
            for place, describe in find_overlaps(space):
                problems.add(place, describe, place[0])
        problems.raise_any("SearchSpace")
        return space

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters by name, in the order of the spec."""
        return self.root

    def replace(self, name: str, parameter: Parameter) -> SearchSpace:
        """The same space with another definition of one parameter.

        Raises:
            ValidationError: the definition contradicts the rest of the space.
        """
        return SearchSpace.model_validate({**self.root, name: parameter})

    def dump(self) -> dict[str, Any]:
        """The space as JSON, which the class reads back to an equal space."""
        dumped: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return dumped

    def order_names(self) -> tuple[str, ...]:
        """Names, every parent before its children, otherwise in the order of the spec."""
        return self._order

    @cached_property
    def _order(self) -> tuple[str, ...]:
        order: dict[str, None] = {}
        waiting = list(reversed(self.root))
        while waiting:
            name = waiting[-1]
            above = [p for p in list_parents(self.root[name]) if p not in order]
            if above and name not in order:
                waiting += reversed(above)
            else:
                order[waiting.pop()] = None
        return tuple(order)

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What a study samples, every parent before its children."""
        return tuple(d for name in self._order for d in self._by_name[name])

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[Dimension, ...]]:
        return {name: tuple(divide(name, found)) for name, found in self.root.items()}

    def list_dimensions(self, name: str) -> tuple[Dimension, ...]:
        """The dimensions of a parameter: one, or one for each of its alternatives."""
        return self._by_name[name]

    def find_active(self, point: Mapping[str, Value]) -> tuple[str, ...]:
        """Names of the parameters that are active at a point, parents first.

        A parent that is absent or inactive meets no condition.
        """
        return tuple(dimension.name for dimension in self.find_dimensions(point))

    def find_dimensions(self, point: Mapping[str, Value]) -> tuple[Dimension, ...]:
        """The dimensions that are active at a point, parents first; see :meth:`find_active`."""
        active: dict[str, Value] = {}
        found: list[Dimension] = []
        for name in self._order:
            dimension = self.find_dimension(name, active)
            if dimension is not None:
                found.append(dimension)
                if name in point:
                    active[name] = point[name]
        return tuple(found)

    def find_dimension(
        self, name: str, active: Mapping[str, Value], among: Container[str] | None = None
    ) -> Dimension | None:
        """The dimension of a parameter that is active where these are all ``active`` ones.

        ``active`` has their values. Conditions on parameters that are not ``among`` some names
        count as met.
        """
        for dimension in self._by_name[name]:
            when = dimension.plain.when
            if not when or _is_met(when, active, among):
                return dimension
        return None

    def can_meet(self, *conditions: Mapping[str, Sequence[Value]]) -> bool:
        """Whether a point may meet all these conditions; False only if none does."""
        known = self._requirements
        return can_be_met(join(imply(when, self._by_name, known) for when in conditions))

    def exclude(self, one: Dimension, other: Dimension) -> bool:
        """Whether conditions prevent two dimensions from being active at the same point."""
        pair = (self._requirements[dimension.stored] for dimension in (one, other))
        return not can_be_met(join(pair))

    @cached_property
    def _requirements(self) -> Mapping[str, Requirements]:
        return find_requirements(self._order, self._by_name)

    def name_values(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The values that a study has of a trial, by the names of the parameters."""
        names = {dimension.stored: dimension.name for dimension in self.dimensions}
        return {names.get(key, key): value for key, value in stored.items()}


def _is_met(
    when: Mapping[str, Sequence[Value]],
    active: Mapping[str, Value],
    among: Container[str] | None = None,
) -> bool:
    """Whether a condition is met, see :meth:`SearchSpace.find_dimension`."""
    return all(
        (among is not None and parent not in among)
        or (parent in active and any(is_same(active[parent], v) for v in allowed))
        for parent, allowed in when.items()
    )
