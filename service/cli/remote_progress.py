"""Shows a sweep on a server while it runs, as one on this machine is shown."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from service.client import endpoints
from service.client.api_models import SweepDetails, TrialOut
from service.client.client import Client
from service.client.sweep_events import StateChanged, SweepEvent
from service.report.progress import choose_view, showing
from service.spec.model import SweepSpec
from service.spec.stored import parse_stored_spec
from service.study.records import Trial
from service.sweep.sweep_observer import GuardedObserver
from service.sweep.sweep_record import Sweep, SweepState


def follow(client: Client, sweep_id: str, console: Console) -> None:
    """Show a sweep's progress until it has ended.

    Raises:
        ServerError: the server does not answer any more.
    """
    sweep = client.do(endpoints.sweep(sweep_id))  # first: later changes arrive as events
    known = tuple(_trial(t) for t in client.do(endpoints.trials(sweep_id)))
    with showing(choose_view(console)) as view:
        view.begin(_sweep(sweep, known), _planned(sweep), None)
        if not sweep.state.is_over:
            console.print(f"{sweep_id} is {sweep.state} ({sweep.cause})", soft_wrap=True)
        for _, event in client.events(sweep_id, after=sweep.last_event):
            _show(view, console, event)


def _show(view: GuardedObserver, console: Console, event: SweepEvent) -> None:
    if isinstance(event, StateChanged):
        console.print(f"{event.new}: {event.cause}", soft_wrap=True)
    else:
        view.on(event)


def _trial(found: TrialOut) -> Trial:
    return Trial(**{name: getattr(found, name) for name in TrialOut.model_fields})


def _sweep(sweep: SweepDetails, known: tuple[Trial, ...]) -> Sweep:
    return Sweep.of(
        _spec(sweep),
        sweep_id=sweep.sweep_id,
        state=SweepState.RUNNING,
        seconds=0.0,
        trials=known,
    )


def _planned(sweep: SweepDetails) -> int:
    budget = _spec(sweep).budget.trials + sweep.more_trials
    return int(sweep.progress.get("planned", budget))


def _spec(sweep: SweepDetails) -> SweepSpec:
    return parse_stored_spec(sweep.spec, sweep.sweep_id, Path())
