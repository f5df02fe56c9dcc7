"""The tags and names of sweeps' runs in MLflow, and the filter of searches' trials."""

from __future__ import annotations

import json

from service.study.records import Role, Trial
from service.sweep.answer import Answer

SWEEP_TAG = "gapsweep.sweep_id"
CODE_TAG = "gapsweep.code"
TRIAL_TAG = "gapsweep.trial"
STATE_TAG = "gapsweep.state"
ROLE_TAG = "gapsweep.role"
REASON_TAG = "gapsweep.reason"
NOT_ACTING_TAG = "gapsweep.not_acting"
ARM_TAG = "gapsweep.arm"
REPLICATE_TAG = "gapsweep.replicate"
PART_TAG = "gapsweep.part"
ANSWER_TAG = "gapsweep.answer"
AUDITED_TAG = "gapsweep.audited"
SWEEP_ROLE = "sweep"
"""The role of a sweep's own run, which older versions left without one."""
REFIT_ROLE = "refit"
"""The role of a run of what was trained again on all samples; it is no trial."""
SEARCHED = " AND ".join(
    f"tags.`{ROLE_TAG}` != '{role}'"
    for role in (Role.REPLICATE, Role.REMOVAL, Role.AUDIT, REFIT_ROLE)
)
"""The filter that leaves a list of runs with sweeps and the trials of their searches.

MLflow takes a run without the tag for one that does not fit: every run has a role.
"""


def name_run(trial: Trial) -> str:
    """Its number and what is most looked for, and its role where it has a special one."""
    words = [f"{trial.number:03d}", trial.penalty]
    if trial.replicate:
        words.append(f"({_describe_arm(trial)}, replicate {trial.replicate})")
    elif trial.role is Role.AUDIT:
        words.append(f"(audit of trial {trial.confirms})")
    elif trial.role in (Role.BASELINE, Role.CONTROL, Role.CONFIRM):
        words.append(f"({trial.role.value})")
    return " ".join(words)


def _describe_arm(trial: Trial) -> str:
    """The configuration of a replicate: the trial it is from, and what it is without."""
    without = f" without {', '.join(trial.without)}" if trial.without else ""
    return f"trial {trial.confirms}{without}"


def list_replicate_tags(trial: Trial) -> dict[str, str]:
    """What a replicate, a removal or an audit is of; nothing for other trials."""
    if trial.role is Role.AUDIT:
        return {AUDITED_TAG: str(trial.confirms)}
    if not trial.replicate:
        return {}
    tags = {ARM_TAG: _describe_arm(trial), REPLICATE_TAG: str(trial.replicate)}
    return tags | ({PART_TAG: ", ".join(trial.without)} if trial.without else {})


def list_answer_tags(answer: Answer | None) -> dict[str, str]:
    """The answer as one JSON value, and its plain fields each, to search runs by."""
    if answer is None:
        return {}
    found = answer.model_dump(mode="json", exclude={"arms"})
    plain = {k: v for k, v in found.items() if isinstance(v, str | bool | int | float)}
    return {
        ANSWER_TAG: json.dumps(found),
        **{f"{ANSWER_TAG}.{name}": str(value) for name, value in plain.items()},
        **{f"{ANSWER_TAG}.part.{part.name}": part.state.value for part in answer.parts},
    }
