"""The tags of the runs of sweeps in MLflow, and what they say."""

from __future__ import annotations

from service.study.records import Role, TrialState

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
REFIT_ROLE = "refit"
"""The role of a run of what was trained again on all samples; it is no trial."""
SEARCHED = " AND ".join(
    f"tags.`{ROLE_TAG}` != '{role}'"
    for role in (Role.REPLICATE, Role.REMOVAL, Role.AUDIT, REFIT_ROLE)
)
"""The filter that leaves a list of runs with the trials of searches."""

RUN_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.PAUSED: "SCHEDULED",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAILED: "FAILED",
}
