"""Registries of components that a spec chooses by name, entry point or import path.

A spec writes ``name``, ``{name: …, option: …}`` or ``{name: "module:Class", option: …}``. The
options of a built-in component are a pydantic model that does not import torch, Ray or Optuna; its
class is loaded when it is built. Entry points of the group ``gapsweep.KINDs`` add names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Annotated, Any, Generic, TypeVar, Union, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetJsonSchemaHandler,
    Tag,
    TypeAdapter,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from search_spaces.models import Strict
from search_spaces.words import did_you_mean
from trainables.config.imports import IMPORT_PATH, ImportPath, construct

_CUSTOM = "import path"


class Component(Strict):
    """A component in a spec: ``name`` selects it, the other fields are its options."""

    name: str

    @property
    def label(self) -> str:
        """The name for reports; the last part of an import path."""
        return self.name.rpartition(":")[2]


class Custom(Component):
    """A user-defined component. Its options are checked when it is built, not earlier.

    A subclass with another base must declare ``name: ImportPath`` again: the first base wins.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: ImportPath

    def create(self, **offered: Any) -> Any:
        """The user's object, with the options of the spec and the ``offered`` ones it accepts.

        Raises:
            ContractError: it cannot be imported or does not accept an option.
        """
        own = {n: getattr(self, n) for n in type(self).model_fields if n != "name"}
        return construct(self.name, self.model_extra or {}, {**offered, **own})


C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """All components of one kind, for example ``sampler``."""

    def __init__(self, kind: str, custom: type[C], *, default: str | None = None) -> None:
        """``custom`` models user-defined components; ``default`` is the name if none is given."""
        self.kind = kind
        self._custom = custom
        self._default = default
        self._built_in: dict[str, type[C]] = {}

    def register(self, component: type[C]) -> type[C]:
        """Add a built-in component; its field ``name`` is a Literal of its names."""
        for name in get_args(component.model_fields["name"].annotation):
            self._built_in[name] = component
        return component

    def names(self) -> tuple[str, ...]:
        """The built-in names, then those of installed packages."""
        return (*self._built_in, *(n for n in self._installed if n not in self._built_in))

    def built_in(self) -> Mapping[str, type[C]]:
        """The models of the built-in components by name."""
        return dict(self._built_in)

    def parse(self, raw: object) -> C:
        """Parse a component of a spec.

        Raises:
            ValidationError: the name is unknown, or an option is invalid.
        """
        return self._adapter.validate_python(raw)

    def choice(self) -> Any:
        """The pydantic type of a field that takes one of the components."""
        tagged = {**self._built_in, _CUSTOM: self._custom}
        members = tuple(Annotated[model, Tag(name)] for name, model in tagged.items())
        union: Any = Union.__getitem__(members)  # the members are only known at run time
        return Annotated[
            union, Discriminator(self._tag), BeforeValidator(self._expand), _ShortForms(self)
        ]

    @cached_property
    def _adapter(self) -> TypeAdapter[C]:
        return TypeAdapter(self.choice())

    @cached_property
    def _installed(self) -> Mapping[str, str]:
        """Import paths of the entry points of installed packages, by name."""
        return {e.name: e.value for e in entry_points(group=f"gapsweep.{self.kind}s")}

    def _expand(self, raw: Any) -> Any:
        """Expand ``name`` to ``{name: name}``, and an entry point's name to its import path."""
        if isinstance(raw, str):
            raw = {"name": raw}
        if not isinstance(raw, Mapping):
            return raw
        name = raw.get("name", self._default)
        if not isinstance(name, str):
            text = f"needs a `name`: {', '.join(self.names())}, or module:Class"
            raise PydanticCustomError("value_error", "{error}", {"error": text})
        if name not in self._built_in and not re.match(IMPORT_PATH, name):
            if name not in self._installed:
                valid = ", ".join(self.names())
                hint = did_you_mean(name, self.names())
                text = f"{name!r} is not one of {valid} or module:Class{hint}"
                raise PydanticCustomError("value_error", "{error}", {"error": text})
            name = self._installed[name]
        return {**raw, "name": name}

    def _tag(self, raw: Any) -> str:
        name = raw.get("name") if isinstance(raw, Mapping) else getattr(raw, "name", None)
        return str(name) if name in self._built_in else _CUSTOM


class _ShortForms:
    """Adds the short forms of a component to its JSON Schema: a name, or an import path."""

    def __init__(self, registry: Registry[Any]) -> None:
        self._registry = registry

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        names: JsonSchemaValue = {"enum": list(self._registry.built_in())}
        path = {"type": "string", "pattern": IMPORT_PATH}
        return {"anyOf": [names, path, handler(schema)]}
