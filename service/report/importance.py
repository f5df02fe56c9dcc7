"""How much each parameter mattered, for the objective and for the generalisation gap."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

MIN_TRIALS = 10
_TOP_TRIALS = 5  # what Optuna's documentation asks for above the quantile
_TOP_SHARE = 0.1

Target = Callable[[FrozenTrial], float]


@dataclass(frozen=True)
class Importances:
    """Shares of 1 by parameter, largest first; empty where nothing can be told apart."""

    objective: Mapping[str, float]
    gap: Mapping[str, float]


def importances(study: optuna.Study) -> Importances | None:
    """What decided whether a completed trial was among the best, by conditional PED-ANOVA.

    Of Optuna's evaluators only this one keeps conditional parameters: λ is judged among the
    trials that have one, weighted by how many of the best do (https://arxiv.org/abs/2601.20800).
    fANOVA and mean decrease impurity leave out whatever is not in every trial. Nothing is drawn
    at random. None below ``MIN_TRIALS`` completed trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS:
        return None
    maximised = study.direction is optuna.study.StudyDirection.MAXIMIZE
    return Importances(
        objective=_shares(study, complete, _negated(_value) if maximised else _value),
        gap=_shares(study, complete, _gap),
    )


def _shares(study: optuna.Study, complete: list[FrozenTrial], target: Target) -> dict[str, float]:
    judged = [t for t in complete if math.isfinite(target(t))]
    names = sorted({n for t in judged for n, d in t.distributions.items() if not d.single()})
    quantile = max(_TOP_SHARE, _TOP_TRIALS / max(len(judged), 1))
    if (
        len(judged) < MIN_TRIALS
        or not names
        or not _separates([target(t) for t in judged], quantile)
    ):
        return {}
    with warnings.catch_warnings():
        # it warns that low targets count as good, which is what both targets mean here
        warnings.simplefilter("ignore")
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        found = get_param_importances(study, evaluator=evaluator, params=names, target=target)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _separates(values: list[float], quantile: float) -> bool:
    """Whether the best quantile is not, by ties, everything: Optuna would call all equal then."""
    last = math.ceil(quantile * len(values)) - 1
    return sorted(values)[last] < max(values)


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else trial.value


def _gap(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get("best", {}).get("gap/loss", math.nan))


def _negated(target: Target) -> Target:
    return lambda trial: -target(trial)
