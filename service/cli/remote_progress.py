"""A sweep on a server as it runs, shown as one that runs here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from service.client import endpoints
from service.client.client import Client
from service.client.models import EventOut, SweepDetails, TrialOut
from service.report.progress import SweepView, view_for
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.sweep_record import Sweep, SweepState

_ENDED = {
    "trial completed": TrialState.COMPLETE,
    "trial pruned": TrialState.PRUNED,
    "trial failed": TrialState.FAILED,
}


def follow(client: Client, sweep_id: str, console: Console) -> None:
    """Show what happens to a sweep until it has ended.

    Raises:
        ServerError: the server stays away.
    """
    sweep = client.do(endpoints.sweep(sweep_id))  # first: what happens from here on comes as events
    known = {t.number: _trial(t) for t in client.do(endpoints.trials(sweep_id))}
    with view_for(console) as view:
        view.begin(_sweep(sweep, known), _planned(sweep), None)
        if not sweep.state.is_over:
            console.print(f"{sweep_id} is {sweep.state} ({sweep.cause})", soft_wrap=True)
        for _, event in client.events(sweep_id, after=sweep.last_event):
            _show(view, event, known)


def _show(view: SweepView, event: EventOut, known: dict[int, Trial]) -> None:
    data = event.data
    if event.kind == "state changed":
        view.console.print(f"{data['new']}: {data['cause']}", soft_wrap=True)
    elif event.kind == "epoch":
        metrics = {k: float(v) for k, v in data["metrics"].items()}
        view.epoch(
            Epoch(trial=data["trial"], epoch=data["epoch"], time=event.time, metrics=metrics)
        )
    elif event.kind == "trial started":
        known[data["trial"]] = _started(data)
        view.started(known[data["trial"]])
    elif event.kind in _ENDED and data["trial"] in known:
        known[data["trial"]] = _ended(known[data["trial"]], event)
        view.ended(known[data["trial"]])


def _started(data: Mapping[str, Any]) -> Trial:
    return Trial(
        number=data["trial"],
        state=TrialState.RUNNING,
        role=Role(data["role"]),
        params=data["params"],
    )


def _ended(trial: Trial, event: EventOut) -> Trial:
    return Trial(
        number=trial.number,
        state=_ENDED[event.kind],
        role=trial.role,
        params=trial.params,
        value=event.data["value"],
        best={k: float(v) for k, v in event.data["best"].items()},
        reason=event.data["reason"],
    )


def _trial(found: TrialOut) -> Trial:
    facts = {name: getattr(found, name) for name in TrialOut.model_fields if name != "best"}
    best = {k: float("nan") if v is None else v for k, v in found.best.items()}
    return Trial(**facts, best=best)


def _sweep(sweep: SweepDetails, known: Mapping[int, Trial]) -> Sweep:
    return Sweep.of(
        _spec(sweep),
        sweep_id=sweep.sweep_id,
        state=SweepState.RUNNING,
        seconds=0.0,
        trials=tuple(known[n] for n in sorted(known)),
    )


def _planned(sweep: SweepDetails) -> int:
    budget = _spec(sweep).budget.trials + sweep.more_trials
    return int(sweep.progress.get("planned", budget))


def _spec(sweep: SweepDetails) -> SweepSpec:
    return parse_spec(yaml.safe_load(sweep.spec), sweep.sweep_id, Path())
