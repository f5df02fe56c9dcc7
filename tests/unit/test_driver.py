"""A driver that cannot begin says why, and that is the end of its sweep."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from service.base.amount import Amount
from service.base.errors import InputError, ServerError
from service.client.client import Client
from service.client.job_states import JobState
from service.server import driver, driver_config
from service.server.driver_client import DriverClient
from service.server.job_demand import read_demand
from service.server.store.job_records import DriverReport
from service.spec.file import parse_spec
from service.sweep.home import SweepFolder
from tests.drivers import api_over_http, driver_token
from tests.houses import SPEC, House


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a driver sets is for its own process."""
    for name in ("GAPSWEEP_MLFLOW_URI", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[House]:
    with House.opened(tmp_path) as made:
        yield made


@pytest.fixture
def house(offline: House) -> Iterator[House]:
    with api_over_http(offline.service, urlsplit(offline.url_of_api).port):
        yield offline


def test_a_spec_that_another_version_stored_fails_with_its_problems(house: House) -> None:
    house.submit(budget={"energy": 3}, resources={"cores": 7})
    job = house.drive()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert "budget.energy: unknown key" in job.cause
    assert read_demand(job).trial == Amount(1.0, 0.0)  # and the queue goes on


def test_another_version_of_the_service_is_said(house: House) -> None:
    house.submit()
    house.change_file(version="9.9")
    job = house.drive()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert "the service has 9.9; install the same version on both" in job.cause


def test_a_driver_whose_attempt_is_over_touches_nothing(house: House) -> None:
    house.submit()
    house.change(JobState.QUEUED)
    house.launch(attempt=2)
    assert house.drive(attempt=1).state is JobState.STARTING
    assert "digits-1 is starting in attempt 2; attempt 1 is over" in house.log()


def test_a_driver_reads_its_file_once_and_needs_no_other(house: House) -> None:
    house.submit(budget={"energy": 3})
    (file,) = house.folder.path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert house.url not in file.read_text()
    assert house.drive().state is JobState.FAILED
    assert [p.name for p in house.folder.path.iterdir()] == ["driver.log"]
    assert house.run() == 1
    assert "driver.json cannot be read" in house.log()
    assert "Traceback" not in house.log()


def test_a_driver_waits_for_a_service_that_is_away(offline: House) -> None:
    offline.submit(budget={"energy": 3})
    with ThreadPoolExecutor() as threads:
        driven = threads.submit(offline.run)
        time.sleep(1.0)
        assert not driven.done()
        with api_over_http(offline.service, urlsplit(offline.url_of_api).port):
            assert driven.result(60) == 0
    assert offline.sweeps.get("digits-1").state is JobState.FAILED


def test_a_service_that_cannot_be_reached_is_named(
    offline: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "START_PATIENCE", 0.1)
    offline.submit()
    assert offline.run() == 1
    words = f"the driver cannot report to the service at {offline.url_of_api}"
    assert words in offline.log()
    assert "--driver-url" in offline.log()
    assert "Traceback" not in offline.log()


def test_a_token_that_is_no_token_is_named(house: House) -> None:
    house.submit()
    house.change_file(token="gs_other")
    assert house.run() == 1
    assert "invalid token" in house.log()


class LosesAnAnswer(DriverClient):
    """The service does what it is told, and dies before it answers."""

    lost = False

    def end(self, report: DriverReport, state: JobState, cause: str) -> None:
        super().end(report, state, cause)
        self.lost = True
        raise ServerError("connection closed")


def test_an_end_whose_answer_was_lost_is_an_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.submit()
    service = LosesAnAnswer(Client(house.url_of_api, driver_token(house.service, "digits-1")))
    job, spec = service.wait_for_job(1.0), parse_spec(SPEC, "the spec", house.home.data)
    made = driver.Driver(house.home, job, spec, service, Console(file=StringIO()))

    def fail(_: object) -> NoReturn:
        raise InputError("no data")

    monkeypatch.setattr(made, "_drive", fail)
    assert made.run()
    assert service.lost
    found = house.sweeps.get("digits-1")
    assert (found.state, found.cause) == (JobState.FAILED, "no data")


CONFIG = driver_config.DriverConfig(
    version="1", api_url="http://api:8080", token="gsd_own", mlflow_uri="http://mlflow:5000"
)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*driver._MLFLOW_CREDENTIALS, "GAPSWEEP_MLFLOW_URI"):
        monkeypatch.setenv(name, "")  # it is restored afterwards, whatever the driver sets


@pytest.mark.usefixtures("no_credentials")
class TestMlflow:
    def test_it_logs_with_the_sweeps_token(self) -> None:
        driver._use_mlflow(CONFIG)
        assert os.environ["GAPSWEEP_MLFLOW_URI"] == "http://mlflow:5000"
        assert os.environ["MLFLOW_TRACKING_TOKEN"] == "gsd_own"

    def test_credentials_of_an_mlflow_of_the_operators_own_come_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = "http://ann:hunter22@mlflow.example.org"
        driver._use_mlflow(CONFIG.model_copy(update={"mlflow_uri": own}))
        assert os.environ["GAPSWEEP_MLFLOW_URI"] == own
        assert os.environ["MLFLOW_TRACKING_TOKEN"] == ""
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter22")
        driver._use_mlflow(CONFIG)
        assert os.environ["MLFLOW_TRACKING_TOKEN"] == ""


def test_a_disk_that_is_full_before_the_first_trial_pauses_the_sweep(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that died of it would use up the sweep's attempts while the disk is full."""

    def refuse(_: SweepFolder) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    house.submit()
    monkeypatch.setattr(SweepFolder, "write_format", refuse)
    job = house.drive()
    assert job.state is JobState.PAUSED
    assert job.cause == f"the disk of {house.folder.path} is full; no trial was started"
