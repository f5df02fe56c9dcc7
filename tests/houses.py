"""A home and its service in this process, for drivers of one sweep."""

from __future__ import annotations

from pathlib import Path

import yaml

from service.base.ports import find_free_port
from service.server import driver_config
from service.server.driver import main
from service.server.driver_access import Handover
from service.server.store.job_records import Job
from service.server.sweep_service import ServiceSettings, SweepService
from service.sweep.home import Home, SweepFolder
from tests.stores import Store

SPEC = {
    "name": "digits",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


class House(Store):
    """A home and its service, whose API answers over HTTP."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home = Home(folder)
        settings = ServiceSettings(database_url=self.url, home=folder)
        self.service = SweepService(settings, self.database)
        self.url_of_api = f"http://127.0.0.1:{find_free_port()}"

    @property
    def folder(self) -> SweepFolder:
        return self.home.sweep("digits-1")

    def submit(self, **changes: object) -> None:
        """A sweep that is starting, and what its driver needs."""
        self.add(spec=yaml.safe_dump({**SPEC, **changes}))
        self.launch()
        tokens = self.service.sweep_tokens
        handover = Handover(self.home.path, tokens, self.url_of_api, "off")
        handover.give(self.sweeps.get("digits-1"))

    def change_file(self, **changes: str) -> None:
        found = driver_config.take(self.folder)
        driver_config.write(found.model_copy(update=changes), self.folder)

    def run(self, attempt: int = 1) -> int:
        """Run a driver; its exit code."""
        return main(["digits-1", "--attempt", str(attempt), "--home", str(self.home.path)])

    def drive(self, attempt: int = 1) -> Job:
        """Its job, after a driver that ended well."""
        assert self.run(attempt) == 0
        return self.sweeps.get("digits-1")

    def log(self) -> str:
        return self.folder.driver_log.read_text()
