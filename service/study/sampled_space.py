"""The space that a study samples, which may differ from that of its sweep's spec.

Automatic ranges are computed when a sweep starts, and a resumed sweep may widen ranges.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import optuna

from search_spaces.bounds import without_bounds
from search_spaces.space import SearchSpace
from service.study.attributes import StudyAttributes


def read_space(study: optuna.Study) -> SearchSpace | None:
    """The space that a study samples; None if none was stored, as in studies of older versions."""
    stored = StudyAttributes.of(study).space
    return None if stored is None else _parse(json.dumps(stored))


def store_space(study: optuna.Study, space: SearchSpace) -> None:
    """Store the space that a study samples from now on."""
    replace(StudyAttributes.of(study), space=space.dump()).store(study)


@lru_cache(maxsize=16)
def _parse(text: str) -> SearchSpace:
    with without_bounds():
        return SearchSpace.model_validate(json.loads(text))
