"""The parameters of a trial, as a user's loop reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from search_spaces.unknown_names import did_you_mean, join_names
from search_spaces.values import Value, thaw
from trainables.config.regularisers import BY_KEY, OFF, RegulariserConfig
from trainables.config.trial_parameters import MODEL_PREFIX


class Params(Mapping[str, object]):
    """What the space varies, by name; ``model.NAME`` is found as ``NAME``, too.

    The arguments of ``model`` in the spec are found as well, and not listed.

    A parameter that is not active in this trial has the value at which it does nothing, where there
    is one (``lambda`` is 0). Which ones were read is remembered: a parameter that no code reads
    does not act.
    """

    def __init__(self, values: Mapping[str, Value], varied: Collection[str] | None = None) -> None:
        self._values = dict(values)
        self._varied = tuple(values if varied is None else varied)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> object:
        for key in (name, f"{MODEL_PREFIX}{name}"):
            if key in self._values:
                self.read.add(key)
                return thaw(self._values[key])
        config = BY_KEY.get(name)
        if config is not None:
            self.read.add(name)
            return _find_neutral(config, name)
        raise MissingParameterError(
            f"trial.params has no {name!r}{did_you_mean(name, self._values)}; it has "
            f"{join_names(self._values) or 'nothing, as the space is empty'}; "
            f"one of your own is `{MODEL_PREFIX}{name}` in the space or `model` of the spec"
        )

    def __getattr__(self, name: str) -> object:
        raise AttributeError(f'trial.params has no attribute {name!r}; read trial.params["{name}"]')

    def __iter__(self) -> Iterator[str]:
        return iter(self._varied)

    def __len__(self) -> int:
        return len(self._varied)

    def __repr__(self) -> str:
        return repr({name: self._values[name] for name in self._varied})


def _find_neutral(config: type[RegulariserConfig], name: str) -> object:
    """The value at which a parameter does nothing; where it matters to no one, its default."""
    if name in OFF:
        return thaw(OFF[name])
    if name == config.strength:
        return 0.0
    fields = {field.alias or key: field for key, field in config.model_fields.items()}
    return fields[name].default


class MissingParameterError(KeyError):
    """The space has no such parameter."""

    def __str__(self) -> str:
        return str(self.args[0])
