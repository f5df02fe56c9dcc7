"""The pruners and samplers that a replay compares, from what a person writes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from search_spaces.models import Strict
from service.base.errors import InputError, SpecError
from service.replay.recorded_sweep import History
from service.spec.directions import fill_directions
from service.spec.invalid import describe_problems
from service.spec.model import StoppingChoice, SweepSpec
from service.spec.sections import Search
from service.spec.yaml_reader import describe_yaml_error, read_yaml
from trainables.config.stopping import StoppingConfig

_STOPPING = "--early-stopping"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A pruner and a sampler as they were written, and the ``spec`` that has them."""

    pruner: str
    sampler: str
    spec: SweepSpec

    def with_seed(self, seed: int) -> SweepSpec:
        """The spec with another seed of the search."""
        search = self.spec.search.model_copy(update={"seed": seed})
        return self.spec.model_copy(update={"search": search})


class _Written(Strict):
    """The part of a spec that a replay is told."""

    search: Search = Search()
    early_stopping: StoppingChoice | None = None


def list_variants(
    history: History, pruners: Sequence[str], samplers: Sequence[str]
) -> Iterator[Variant]:
    """Every pruner with every sampler, each in the YAML that a spec has.

    Raises:
        InputError: one of them is not YAML, or no pruner or sampler of a spec.
    """
    for sampler in samplers:
        for pruner in pruners:
            search = _parse_search(pruner, sampler)
            chosen = {"pruner": search.pruner, "sampler": search.sampler}
            own = history.spec.search.model_copy(update=chosen)
            spec = history.spec.model_copy(update={"search": own})
            yield Variant(pruner=pruner, sampler=sampler, spec=spec)


def read_stopping(text: str) -> StoppingConfig:
    """The early-stopping rule that is written so.

    Raises:
        InputError: it is not YAML, or no rule of a spec.
    """
    raw = _read(_STOPPING, text)
    if raw in (False, None, "off"):
        raise InputError(
            "--early-stopping: leave it out to replay trainings as they were recorded, or name a "
            "rule, for example patience"
        )
    rule = _parse({"early_stopping": raw}, f"--early-stopping {text}").early_stopping
    assert rule is not None
    return rule


def _parse_search(pruner: str, sampler: str) -> Search:
    for option, key, text in (("--pruner", "pruner", pruner), ("--sampler", "sampler", sampler)):
        _parse({"search": {key: _read(option, text)}}, f"{option} {text}")
    raw = {"pruner": _read("--pruner", pruner), "sampler": _read("--sampler", sampler)}
    search = _parse({"search": raw}, "replay").search
    if search.sampler.name == "grid":
        raise InputError(
            "--sampler grid: a grid is tried point by point, and a history has other points; "
            "choose another sampler"
        )
    return search


def _parse(raw: Mapping[str, Any], source: str) -> _Written:
    try:
        return _Written.model_validate(fill_directions(dict(raw)))
    except ValidationError as error:
        raise SpecError(source, describe_problems(error, raw)) from None


def _read(option: str, text: str) -> Any:
    try:
        found = read_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{option} {text!r}: {describe_yaml_error(error)}") from None
    if found is None and option != _STOPPING:
        raise InputError(f"{option} {text!r} names nothing; write it as in a spec")
    return found
