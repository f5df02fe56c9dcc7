"""A sweep on a server whose every text is hostile to whoever shows it."""

from __future__ import annotations

from service.client.api_models import SweepDetails, TransitionOut
from service.client.job_states import JobState

MARKUP = "[/bold] [link=http://evil.example]here[/link] [red :warning: $x_2$"
CODES = "\x1b]0;title\x07\x1b[2J\x9b2J\x00\x08\r\x7f\u202e\u2066\u200b\ufeff\u2028\ud800\U000e0041"
HOSTILE = f"{MARKUP}{CODES}"


def details() -> SweepDetails:
    """One that failed, with everything that a table shows."""
    change = TransitionOut(time=0, old=None, new=JobState.FAILED, cause=HOSTILE, by=HOSTILE)
    best = {"trial": 1, "value": 0.5, "gap/loss": 0.5}
    return SweepDetails(
        sweep_id=HOSTILE,
        name=HOSTILE,
        owner=HOSTILE,
        state=JobState.FAILED,
        created=0,
        changed=0,
        priority=0,
        after=(HOSTILE,),
        requested_action=None,
        cause=HOSTILE,
        attempt=1,
        last_heartbeat=None,
        failures=1,
        slots=None,
        more_trials=0,
        bundle=None,
        gpu_hours=0,
        progress={"planned": 3, "metric": HOSTILE, "best": best, "baseline": best},
        spec=HOSTILE,
        history=(change,),
        last_event=0,
    )
