"""A driver that cannot begin says why, and that is the end of its sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.base.amounts import Amount
from service.base.versions import installed
from service.server import driver_config
from service.server.demands import demand_of
from service.server.driver import main
from service.server.store.database import Database
from service.server.store.job_records import Job, Submission
from service.server.store.roles import RoleOfUser
from service.server.store.states import JobState
from service.server.store.sweeps import Sweeps
from service.server.store.users import Users
from service.sweep.home import Home

SPEC = {
    "name": "digits",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


class House:
    """A home, a store with one sweep whose turn has come, and what the service left for drivers."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.database = Database(f"sqlite:///{folder / 'service.db'}")
        self.database.upgrade()
        Users(self.database).admit("ann", RoleOfUser.USER)
        self.sweeps = Sweeps(self.database)
        self.leave(installed())

    def leave(self, version: str) -> None:
        left = driver_config.Handover(
            version=version, database_url=self.database.url, mlflow_uri="off"
        )
        driver_config.leave(left, self.home)

    def submit(self, **changes: object) -> None:
        text = yaml.safe_dump({**SPEC, **changes})
        self.sweeps.submit(Submission(sweep_id="digits-1", name="digits", owner="ann", spec=text))
        self.sweeps.change("digits-1", JobState.STARTING, "its turn", "queue", turn=1)

    def drive(self, turn: int = 1) -> Job:
        """Its job, after a driver that ended well."""
        assert main(["digits-1", "--turn", str(turn), "--home", str(self.home.path)]) == 0
        return self.sweeps.get("digits-1")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    assert made.database.checked_out() == 0
    made.database.close()


def test_a_spec_that_another_version_stored_fails_with_its_problems(house: House) -> None:
    house.submit(budget={"energy": 3}, resources={"cores": 7})
    job = house.drive()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert "budget.energy: unknown key" in job.cause
    assert demand_of(job).trial == Amount(1.0, 0.0)  # and the queue goes on


def test_another_version_of_the_service_is_said(house: House) -> None:
    house.leave("9.9")
    house.submit()
    job = house.drive()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert "the service has 9.9; install the same version on both" in job.cause


def test_a_driver_whose_turn_is_over_touches_nothing(house: House) -> None:
    house.submit()
    assert house.drive(turn=2).state is JobState.STARTING
    log = house.home.sweep("digits-1").driver_log.read_text()
    assert "nothing to do in turn 2" in log
