"""The space that a sweep samples may differ from its spec's: the study says which it is."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search_spaces.kinds import Float
from search_spaces.space import SearchSpace
from service.run.create_sweep import write_sweep_files
from service.run.session_plan import More
from service.spec.model import SweepSpec
from service.study.session import StudySession
from service.study.study import SweepStudy, open_study
from service.sweep.home import Home, SweepFolder
from service.sweep.load import load_stored_spec, read_sampled_spec, read_sweep
from tests import specs

SPEC = specs.parse(search={"sampler": "random"})
WIDER = SPEC.space.replace("dropout", Float(float=(0.6, 0.9)))


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return write_sweep_files(Home(tmp_path).create().new_sweep(SPEC.name), SPEC, [])


def start(spec: SweepSpec, folder: SweepFolder) -> SweepStudy:
    study = open_study(spec, folder.journal)
    session = StudySession(study, study.space, metric="val/loss", max_epochs=2)
    session.prepare(8, [])
    for _ in range(3):
        session.ask()
    return study


def test_a_study_samples_the_space_that_it_stores(folder: SweepFolder) -> None:
    open_study(SPEC, folder.journal).store_space(WIDER)
    study = start(SPEC, folder)
    assert study.space == WIDER
    assert all(WIDER.parameters["dropout"].contains(t.params["dropout"]) for t in study.trials())


def test_everything_that_reads_a_sweep_reads_the_space_that_it_samples(folder: SweepFolder) -> None:
    assert read_sampled_spec(SPEC, folder) == SPEC  # before its first trial
    open_study(SPEC, folder.journal).store_space(WIDER)
    start(SPEC, folder)
    _, study, sweep = read_sweep(folder)
    assert sweep.space == study.space == WIDER
    assert read_sampled_spec(load_stored_spec(folder), folder) == SPEC.with_space(WIDER)
    assert load_stored_spec(folder).space == SPEC.space  # what the user wrote


def test_a_new_study_stores_the_space_of_its_spec(folder: SweepFolder) -> None:
    study = start(SPEC, folder)
    assert study.attributes.space == SPEC.space.dump()
    assert SearchSpace.model_validate(study.attributes.space) == SPEC.space


def test_a_study_of_an_older_version_samples_the_space_of_its_spec(folder: SweepFolder) -> None:
    open_study(SPEC, folder.journal).optuna.set_user_attr("budget", 8)
    study = start(SPEC, folder)
    assert study.attributes.space is None
    assert study.space == SPEC.space
    assert read_sweep(folder)[2].space == SPEC.space


def test_trials_are_added_to_what_was_planned_whatever_the_space_is_now() -> None:
    """A wider space has a larger grid, so that its size does not tell what was added."""
    study = SweepStudy(optuna.create_study(), space=SPEC.space)
    session = StudySession(study, SPEC.space, metric="val/loss", max_epochs=2)
    session.prepare(5, [])
    session.extend(8)
    assert More(0, 4).count(study, budget=7) == 1
