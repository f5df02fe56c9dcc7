"""A study of a small space, without a sweep around it."""

from __future__ import annotations

import optuna

from search_spaces.space import SearchSpace

SPACE = SearchSpace.model_validate(
    {
        "penalty": {"choice": ["none", "l1"]},
        "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
        "dropout": {"float": [0.0, 0.7]},
    }
)
NEUTRAL = {"penalty": "none", "dropout": 0.0, "augmentation": "none"}


def new_study(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    """In memory, with a sampler that draws the same every time."""
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)
