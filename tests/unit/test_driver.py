"""A driver that cannot begin says why, and that is the end of its sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.base.amount import Amount
from service.base.versions import get_installed_version
from service.client.job_states import JobState
from service.server import driver_config
from service.server.driver import main
from service.server.job_demand import read_demand
from service.server.store.job_records import Job
from service.sweep.home import Home
from tests.stores import Store

SPEC = {
    "name": "digits",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


class House(Store):
    """A home and its store, and what the service left there for drivers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home = Home(folder)
        self.leave(get_installed_version())

    def leave(self, version: str) -> None:
        left = driver_config.DriverConfig(
            version=version, database_url=self.database.url, mlflow_uri="off"
        )
        driver_config.write(left, self.home)

    def submit(self, **changes: object) -> None:
        """A sweep that is starting."""
        self.add(spec=yaml.safe_dump({**SPEC, **changes}))
        self.launch()

    def drive(self, attempt: int = 1) -> Job:
        """Its job, after a driver that ended well."""
        assert main(["digits-1", "--attempt", str(attempt), "--home", str(self.home.path)]) == 0
        return self.sweeps.get("digits-1")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House.opened(tmp_path) as made:
        yield made


def test_a_spec_that_another_version_stored_fails_with_its_problems(house: House) -> None:
    house.submit(budget={"energy": 3}, resources={"cores": 7})
    job = house.drive()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert "budget.energy: unknown key" in job.cause
    assert read_demand(job).trial == Amount(1.0, 0.0)  # and the queue goes on


def test_another_version_of_the_service_is_said(house: House) -> None:
    house.leave("9.9")
    house.submit()
    job = house.drive()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert "the service has 9.9; install the same version on both" in job.cause


def test_a_driver_whose_turn_is_over_touches_nothing(house: House) -> None:
    house.submit()
    assert house.drive(attempt=2).state is JobState.STARTING
    log = house.home.sweep("digits-1").driver_log.read_text()
    assert "attempt 2 is over" in log
