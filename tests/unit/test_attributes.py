"""What is stored with a study and its trials: keys that were released keep their names."""

from __future__ import annotations

from dataclasses import fields, replace

import optuna
import pytest

from service.study.attributes import Finding, StudyAttributes, TrialAttributes
from service.study.records import Role
from trainables.config.anatomy import Anatomy, LayerAnatomy

TRIAL = TrialAttributes(
    role=Role.CONFIRM,
    params={"penalty": "l1", "lambda": 0.1},
    fixed={"penalty": "l1"},
    baseline=True,
    confirms=3,
    seed=7,
    replicate=2,
    without=("dropout",),
    redraws_test=True,
    attempts=2,
    crashes=1,
    idle=4,
    stalls=3,
    handed_out=(2, 30),
    promoted=4,
    paused=True,
    repeats=1,
    batch=(12, 10),
    control={"val/loss": 0.4},
    best={"val/loss": 0.5, "epoch": 4.0},
    not_acting=("averaging",),
    stopped_epoch=6,
    folds=({"val/loss": 0.4}, {"val/loss": 0.6}),
    ran_on={"device": "CPU"},
    reason="pruned by the study",
    seconds=1.5,
)
ANATOMY = Anatomy(10, 8, (LayerAnatomy("fc.weight", 6, 2, 1.5, 3, 1),))
STUDY = StudyAttributes(
    budget=40,
    planned=30,
    seconds=60.0,
    seconds_before_extension=30.0,
    gpu_seconds_before_extension=15.0,
    trainings_before_extension=20,
    audits_before_extension=4,
    search_end="it has found enough",
    unused=12,
    space={"dropout": {"float": [0.0, 0.5]}},
    ranges=("l1: λ 1e-05 to 0.1 halves weights in 500 to 0.1 epochs",),
    idle_ranges=("lambda of l2 cannot act",),
    not_neutral=("random numbers in the network's own forward",),
    looks=({"family": "trial 3", "replicates": 5, "alpha": 0.005},),
    clocked=1700000000.0,
    answer={"claim": "helps"},
    inspection={"columns": None},
    findings={3: Finding({"test/loss": 0.6}, ANATOMY, {"gap/loss": 0.1}, ANATOMY)},
)


def in_json() -> tuple[optuna.Study, optuna.Trial]:
    """A study whose storage keeps JSON alone, as a journal does."""
    study = optuna.create_study(storage="sqlite://")
    return study, study.ask()


def test_the_released_keys_are_there() -> None:
    assert set(TRIAL.dump()) == {
        *("role", "params", "fixed", "unregularised", "confirms", "seed", "attempts", "best"),
        *("stopped_epoch", "ran_on", "reason", "seconds"),
        *("replicate", "without", "redraws_test", "control"),
        *("crashes", "idle", "stalls", "handed_out", "batch", "not_acting"),
        *("promoted", "paused", "repeats", "folds"),
    }
    assert STUDY.dump() == {
        "budget": 40,
        "planned": 30,
        "seconds": 60.0,
        "seconds_before_extension": 30.0,
        "gpu_seconds_before_extension": 15.0,
        "trainings_before_extension": 20,
        "audits_before_extension": 4,
        "search_end": "it has found enough",
        "unused": 12,
        "space": {"dropout": {"float": [0.0, 0.5]}},
        "ranges": ["l1: λ 1e-05 to 0.1 halves weights in 500 to 0.1 epochs"],
        "idle_ranges": ["lambda of l2 cannot act"],
        "not_neutral": ["random numbers in the network's own forward"],
        "looks": [{"family": "trial 3", "replicates": 5, "alpha": 0.005}],
        "clocked": 1700000000.0,
        "answer": {"claim": "helps"},
        "inspection": {"columns": None},
        "finalists": {
            "3": {
                "metrics": {"test/loss": 0.6},
                "anatomy": ANATOMY.to_dict(),
                "errors": {"gap/loss": 0.1},
                "control": ANATOMY.to_dict(),
            }
        },
    }


def test_what_is_written_is_read_again() -> None:
    for attributes in (TRIAL, STUDY):
        defaults = type(attributes)()
        for field in fields(attributes):  # a value that is a default would prove nothing
            assert getattr(attributes, field.name) != getattr(defaults, field.name)
    study, trial = in_json()
    TRIAL.store(trial)
    STUDY.store(study)
    assert TrialAttributes.of(trial) == TRIAL
    assert TrialAttributes.of(study.trials[0]) == TRIAL
    assert StudyAttributes.of(study) == STUDY


def test_what_is_not_stored_has_its_default_and_unknown_keys_are_passed_over() -> None:
    study, trial = in_json()
    study.set_user_attr("by a later version", 1)
    trial.set_user_attr("by a later version", 1)
    assert TrialAttributes.of(trial) == TrialAttributes()
    assert StudyAttributes.of(study) == StudyAttributes()


def test_only_what_changed_is_written_and_the_role_once() -> None:
    _, trial = in_json()
    TrialAttributes(seed=7).store(trial)
    assert trial.user_attrs == {"role": "search", "seed": 7}
    replace(TrialAttributes.of(trial), attempts=2).store(trial)
    replace(TrialAttributes.of(trial), attempts=1).store(trial)
    assert trial.user_attrs == {"role": "search", "seed": 7, "attempts": 1}


def test_a_queued_trial_is_given_what_it_needs_and_no_more() -> None:
    queued = TrialAttributes(role=Role.ENQUEUED, fixed={"dropout": 0.5}).dump_changed()
    assert queued == {"role": "enqueued", "fixed": {"dropout": 0.5}}


def test_an_unknown_role_is_an_error_and_not_the_default() -> None:
    with pytest.raises(ValueError, match="guess"):
        TrialAttributes.load({"role": "guess"})
