"""A service that is sent whatever its OpenAPI document allows, and bundles besides."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

from service.client.job_states import JobState
from service.server.api.rate_limits import RateSettings
from service.server.store.job_records import DriverReport
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.home import Home
from tests.worlds import World

_OFTEN = "1000000/minute"
UNLIMITED = RateSettings(requests=_OFTEN, submissions=_OFTEN, failures=_OFTEN)
"""A request too many would hide what the others are answered."""


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Bundles that are fine, those that are not, and no bundles at all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in draw(st.sets(st.sampled_from(["a.py", "b/c.py", "../d.py", "json.py"]))):
            made.writestr(name, draw(st.binary(max_size=20)))
    whole = buffer.getvalue()
    return whole[: draw(st.sampled_from([len(whole), len(whole), len(whole) // 2, 0]))]


schemathesis.openapi.media_type("application/zip", archives())


@dataclass(frozen=True)
class Fuzzed:
    """A service with a sweep to look at, which has ended, and one to act on."""

    world: World
    looked_at: str
    acted_on: str

    def known(self, method: str) -> str:
        return self.looked_at if method == "GET" else self.acted_on


def prepare(folder: Path) -> Fuzzed:
    """A service in an empty folder; one of its sweeps has ended with a trial, a model and a log."""
    world = World(folder)
    made = Fuzzed(world, world.submit(), world.submit())
    world.launch(made.looked_at)
    nan = float("nan")
    trial = Trial(
        number=0,
        state=TrialState.COMPLETE,
        role=Role.SEARCH,
        params={"dropout": 0.5},
        value=0.5,
        best={"val/loss": 0.5, "gap/loss": nan},
    )
    epoch = Epoch(trial=0, epoch=1, time=1.0, metrics={"val/loss": nan})
    world.service.progress.record(made.looked_at, 1, DriverReport(trials=[trial], epochs=[epoch]))
    files = Home(folder).sweep(made.looked_at)
    files.trial(0).mkdir(parents=True)
    files.best_weights(0).write_bytes(b"weights")
    files.driver_log.write_bytes("λ = 1\n".encode() + bytes(range(256)) + b"\n")
    world.brought_to(made.looked_at, JobState.CANCELLED)
    return made
