"""Registries of components that a spec chooses by name, entry point or import path.

A spec writes ``name``, ``{name: …, option: …}`` or ``{name: "module:Class", option: …}``. The
options of a built-in component are its own pydantic model, which imports no torch, Ray or Optuna;
its class is loaded where it is built. Entry points of installed packages, in the group
``gapsweep.samplers``, ``gapsweep.pruners`` and so on, add names that stand for import paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Generic, TypeVar, Union, get_args

from pydantic import (
    BaseModel,
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
from search_spaces.unknown_names import did_you_mean, show
from trainables.config.code_policy import Kind, describe_kind
from trainables.config.construct import construct
from trainables.config.imports import IMPORT_PATH, ImportPath, suggest_path

_NONE = "none"
_CUSTOM = "import path"


class Component(Strict):
    """One component of a spec: ``name`` chooses it, the other fields are its options."""

    name: str

    @property
    def label(self) -> str:
        """The component as reports show it: its name, or the last part of its import path."""
        return self.name.rpartition(":")[2]


class Custom(Component):
    """A user-defined component, by import path. Its options are checked when it is built.

    ``expected`` is the import path of its type. A subclass with another base must declare
    ``name: ImportPath`` again: the first base wins.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    expected: ClassVar[str] = "builtins:object"

    name: ImportPath

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Check that no other base has taken the type from ``name``: allow-lists rely on it."""
        if cls.model_fields["name"].annotation is not ImportPath:
            raise TypeError(f"{cls.__name__} must declare `name: ImportPath` itself")

    @property
    def kind(self) -> Kind:
        """What its import path must name."""
        return describe_kind(self.expected)

    def create(self, **offered: Any) -> Any:
        """An object of the type ``expected``, from calling what the import path names.

        It gets the options of the spec, and of ``offered`` those that it has as arguments.

        Raises:
            ContractError: it cannot be imported or called, an option is unknown or missing, or it
                returned something else.
        """
        own = {n: getattr(self, n) for n in type(self).model_fields if n != "name"}
        options = self.model_extra or {}
        return construct(self.name, options, {**offered, **own}, expected=self.expected)


C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """All components of one kind, for example all samplers.

    Specs use the registries ``samplers``, ``pruners``, ``fold_pruners``, ``optimizers``,
    ``schedules``, ``stopping_rules``, ``penalties``, ``augmentations``, ``regularisers`` and
    ``data_sources``.
    """

    def __init__(
        self,
        kind: str,
        custom: type[C],
        *,
        group: str,
        default: str | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """``custom`` models user-defined components; ``default`` is the name if none is given.

        ``group`` is the entry points' group without its prefix ``gapsweep.``; ``refused`` says why
        there is no component of a name that users may expect, in the words that follow the name.
        """
        self.kind, self.group = kind, f"gapsweep.{group}"
        self._refused = refused or {}
        self._custom = custom
        self._default = default
        self._built_in: dict[str, type[C]] = {}

    def register(self, component: type[C]) -> type[C]:
        """Add a built-in component, as a decorator; its field ``name`` is a Literal."""
        for name in get_args(component.model_fields["name"].annotation):
            self._built_in[name] = component
        return component

    def names(self) -> tuple[str, ...]:
        """Every valid name: the built-in ones, then those of installed packages."""
        return (*self._built_in, *(n for n in self._installed if n not in self._built_in))

    def built_in(self) -> Mapping[str, type[C]]:
        """The model of each built-in component, by name."""
        return dict(self._built_in)

    def parse(self, raw: object) -> C:
        """A component from what a spec writes: a name, an import path, or a mapping.

        Raises:
            pydantic.ValidationError: the name is unknown, or an option of a built-in component is
                unknown or invalid.
        """
        return self._adapter.validate_python(raw)

    def choice(self) -> Any:
        """The type of a pydantic field that holds one of the components, in any of its forms."""
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
        """Import paths by name, of the entry points of installed packages."""
        return {e.name: e.value for e in entry_points(group=self.group)}

    def _expand(self, raw: Any) -> Any:
        """A mapping with a known name or an import path; an entry point's name becomes its path.

        ``off``, which YAML may read as false, is ``none`` where there is such a component.
        """
        if raw is False or raw == "off":
            raw = _NONE if _NONE in self._built_in else "off"
        if isinstance(raw, str):
            raw = {"name": raw}
        if isinstance(raw, BaseModel):
            return raw
        if not isinstance(raw, Mapping):
            text = f"needs a name: {', '.join(self.names())}, or module:Class; got {show(raw)}"
            raise PydanticCustomError("value_error", "{error}", {"error": text})
        name = raw.get("name", self._default)
        if not isinstance(name, str):
            text = f"needs a `name`: {', '.join(self.names())}, or module:Class"
            raise PydanticCustomError("value_error", "{error}", {"error": text})
        if name not in self._built_in and not re.match(IMPORT_PATH, name):
            if name not in self._installed:
                valid = ", ".join(self.names())
                if name.lower() in self._refused:
                    text = f"{name!r} {self._refused[name.lower()]}; valid: {valid}, module:Class"
                    raise PydanticCustomError("value_error", "{error}", {"error": text})
                hint = suggest_path(name) or did_you_mean(name, self.names())
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
