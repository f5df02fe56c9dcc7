"""The parts of a training whose loop is a user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.values import Value
from trainables.build import Regularisers
from trainables.config.stopping import StoppingConfig
from trainables.config.training import Training
from trainables.data.placing import Placed
from trainables.data.splits import Splits
from trainables.loops.signature import OwnLoop


@dataclass(frozen=True, kw_only=True)
class LoopParts:
    """The parts of a training whose loop is a user's.

    ``arguments`` are the loop's beside the trial, ``fixed`` those of them that the spec gives.
    ``required`` maps the metrics that the spec names to the keys that name them. With
    ``runs_to_end`` early stopping ends nothing. The spec may name no data. A rehearsal has
    ``few``, one batch in each epoch.
    """

    loop: OwnLoop
    arguments: Mapping[str, Any]
    params: Mapping[str, Value]
    fixed: Mapping[str, Any]
    training: Training
    regularisers: Regularisers
    stopping: StoppingConfig | None
    required: Mapping[str, str]
    splits: Splits | None
    data: Placed | None
    device: str = "cpu"
    runs_to_end: bool = False
    few: bool = False
