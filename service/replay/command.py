"""What `gapsweep replay` does, from the words of a person to a comparison."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from service.base.errors import Problem, SpecError
from service.replay.comparison import (
    Comparison,
    Setting,
    check_trials,
    compare,
    count_trials,
)
from service.replay.history_files import open_history
from service.replay.recorded_trainings import prepare
from service.replay.variants import list_variants, read_stopping
from service.spec.sections import Budget, Search
from service.sweep.home import Home
from trainables.errors import ContractError

Shown = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""Given how many replays there are, what to call after each."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: histories by name, pruners and samplers in a spec's words.

    Without ``trials`` a search has as many as a sweep by default, and no more than half of the
    smallest history.
    """

    histories: Sequence[str]
    pruners: Sequence[str] = ()
    samplers: Sequence[str] = ()
    early_stopping: str | None = None
    trials: int | None = None
    slots: int = 2
    repeats: int = 100
    seed: int = 0


def run_replays(request: Request, home: Home, show: Shown) -> Comparison:
    """Replay what is asked for.

    Raises:
        InputError: a history cannot be replayed, an option is not valid, or a user-defined class
            cannot be imported, refuses an option, or fails.
    """
    default = Search()
    pruners = list(dict.fromkeys(request.pruners or ("none", default.pruner.name)))
    samplers = list(dict.fromkeys(request.samplers or (default.sampler.name,)))
    rule = None if request.early_stopping is None else read_stopping(request.early_stopping)
    histories = [open_history(name, home) for name in dict.fromkeys(request.histories)]
    jobs = [(prepare(h, rule), list(list_variants(h, pruners, samplers))) for h in histories]
    courses = [found for found, _ in jobs]
    trials = request.trials or min(Budget().trials, *(count_trials(c) // 2 for c in courses))
    check_trials(trials, courses)
    setting = Setting(
        trials=trials, slots=request.slots, repeats=request.repeats, seed=request.seed
    )
    total = len(jobs) * len(pruners) * len(samplers) * request.repeats
    try:
        with show(total) as ended:
            return compare(jobs, setting, ended)
    except ContractError as error:
        raise SpecError("replay", [Problem(error.where or "search", str(error))]) from error


def dump_comparison(found: Comparison) -> str:
    """The comparison as JSON; what is not known yet, or infinite, is null."""
    return json.dumps(_drop_infinite(asdict(found)), indent=2)


def _drop_infinite(found: Any) -> Any:
    match found:
        case dict():
            return {key: _drop_infinite(value) for key, value in found.items()}
        case list() | tuple():
            return [_drop_infinite(value) for value in found]
        case float() if not math.isfinite(found):
            return None
    return found
