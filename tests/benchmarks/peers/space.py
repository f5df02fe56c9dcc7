"""The space of the race, as each system wants to have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Params = dict[str, Any]
_PENALTIES = ("l1", "l2", "elastic_net")


class Suggests(Protocol):
    """What is used of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


@dataclass(frozen=True)
class Space:
    """Penalty and λ, dropout, augmentation and its strength. ``lambdas`` are ranges by penalty."""

    lambdas: Mapping[str, tuple[float, float]]
    augmentations: tuple[str, ...]

    def to_spec(self) -> dict[str, Any]:
        """The space of a gapsweep spec."""
        return {
            "penalty": {"choice": ["none", *_PENALTIES]},
            "lambda": [
                {"float": list(self.lambdas[name]), "log": True, "when": {"penalty": name}}
                for name in _PENALTIES
            ],
            "l1_ratio": {"float": [0.05, 0.95], "when": {"penalty": "elastic_net"}},
            "dropout": {"float": [0.0, 0.7]},
            "augmentation": {"choice": ["none", *self.augmentations]},
            "augmentation_strength": {
                "float": [0.1, 1.0],
                "when": {"augmentation": list(self.augmentations)},
            },
        }

    def suggest(self, trial: Suggests) -> None:
        """Draw a point from an Optuna trial, defined by run."""
        penalty = trial.suggest_categorical("penalty", ("none", *_PENALTIES))
        if penalty != "none":
            low, high = self.lambdas[penalty]
            trial.suggest_float(f"lambda_{penalty}", low, high, log=True)
        if penalty == "elastic_net":
            trial.suggest_float("l1_ratio", 0.05, 0.95)
        trial.suggest_float("dropout", 0.0, 0.7)
        if trial.suggest_categorical("augmentation", ("none", *self.augmentations)) != "none":
            trial.suggest_float("augmentation_strength", 0.1, 1.0)

    def to_syne_tune(self) -> dict[str, Any]:
        """A space without conditions: every λ is drawn, and one is used."""
        from syne_tune.config_space import choice, loguniform, uniform

        lambdas = {f"lambda_{name}": loguniform(*self.lambdas[name]) for name in _PENALTIES}
        return {
            "penalty": choice(["none", *_PENALTIES]),
            **lambdas,
            "l1_ratio": uniform(0.05, 0.95),
            "dropout": uniform(0.0, 0.7),
            "augmentation": choice(["none", *self.augmentations]),
            "augmentation_strength": uniform(0.1, 1.0),
        }


def read_point(drawn: Mapping[str, Any]) -> Params:
    """The parameters of gapsweep's training loop for a point that a peer drew."""
    point: Params = {key: drawn[key] for key in ("penalty", "dropout", "augmentation")}
    if point["penalty"] != "none":
        point["lambda"] = float(drawn[f"lambda_{point['penalty']}"])
    if point["penalty"] == "elastic_net":
        point["l1_ratio"] = float(drawn["l1_ratio"])
    if point["augmentation"] != "none":
        point["augmentation_strength"] = float(drawn["augmentation_strength"])
    return point
