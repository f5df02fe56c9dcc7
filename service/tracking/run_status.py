"""The status that MLflow shows of a trial's run and of a sweep's own."""

from __future__ import annotations

from service.study.records import TrialState
from service.sweep.sweep_record import SweepState

KILLED = "KILLED"
ENDED = ("FINISHED", "FAILED", KILLED)
TRIAL_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.PAUSED: "SCHEDULED",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAILED: "FAILED",
}
SWEEP_STATUS = {
    SweepState.RUNNING: "RUNNING",
    SweepState.INTERRUPTED: KILLED,
    SweepState.SUCCEEDED: "FINISHED",
    SweepState.FAILED: "FAILED",
}
