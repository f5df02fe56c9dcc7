"""How much each parameter mattered, for the objective and for the generalisation gap."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from service.study.attributes import TrialAttributes

MIN_TRIALS = 10
TOO_FEW_TRIALS = f"Not enough finished trials ({MIN_TRIALS} needed; for the gap, completed ones)."
_TOP_TRIALS = 5  # what Optuna's documentation asks for above the quantile
_TOP_SHARE = 0.1

Target = Callable[[FrozenTrial], float]


@dataclass(frozen=True)
class Importances:
    """Shares of 1 by parameter, largest first; empty where the trials do not show any."""

    objective: Mapping[str, float]
    gap: Mapping[str, float]


def importances(study: optuna.Study) -> Importances:
    """What decided whether a trial was among the best, by conditional PED-ANOVA.

    Of Optuna's evaluators only this one keeps conditional parameters: λ is judged among the
    trials that have one, weighted by how many of the best do (https://arxiv.org/abs/2601.20800).
    fANOVA and mean decrease impurity leave out whatever is not in every trial. Nothing is drawn
    at random. A pruned trial counts for the objective with the best value it reached; for the gap
    only completed trials count, since that of an early epoch means nothing. A target that fewer
    than ``MIN_TRIALS`` trials have is empty.
    """
    maximised = study.direction is optuna.study.StudyDirection.MAXIMIZE
    sign = -1.0 if maximised else 1.0
    return Importances(
        objective=_shares(study, lambda t: _lowest([sign * v for v in _values(t)])),
        gap=_shares(study, _gap),
    )


def _shares(study: optuna.Study, target: Target) -> dict[str, float]:
    """Shares among the finished trials with a finite target; a low one is good."""
    judged = _with_values(study, target)
    trials = judged.get_trials(deepcopy=False)
    names = sorted({n for t in trials for n, d in t.distributions.items() if not d.single()})
    quantile = max(_TOP_SHARE, _TOP_TRIALS / max(len(trials), 1))
    values = [_lowest(t.values) for t in trials]
    if len(trials) < MIN_TRIALS or not names or not _separates(values, quantile):
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental, and parameters that few trials have
        found = get_param_importances(judged, evaluator=evaluator, params=names)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _with_values(study: optuna.Study, target: Target) -> optuna.Study:
    """A study in memory in which every trial with a finite target is complete and has it."""
    judged = optuna.create_study()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        confirms = TrialAttributes.of(trial).confirms is not None
        if not confirms and math.isfinite(value := target(trial)):
            judged.add_trial(
                optuna.trial.create_trial(
                    params=trial.params, distributions=trial.distributions, value=value
                )
            )
    return judged


def _separates(values: list[float], quantile: float) -> bool:
    """Whether the best quantile is not, by ties, everything: Optuna would call all equal then."""
    last = math.ceil(quantile * len(values)) - 1
    return sorted(values)[last] < max(values)


def _values(trial: FrozenTrial) -> list[float]:
    """A trial's value, or those of its epochs where it has none."""
    return [trial.value] if trial.value is not None else list(trial.intermediate_values.values())


def _lowest(values: list[float]) -> float:
    return min(values, default=math.nan)


def _gap(trial: FrozenTrial) -> float:
    if trial.state is not TrialState.COMPLETE:
        return math.nan
    return TrialAttributes.of(trial).best.get("gap/loss", math.nan)
