"""Registers a refit in MLflow's registry of models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.base.errors import GapsweepError, InputError
from service.base.plain_text import escape_markdown
from service.report.refit_text import write_refit as write_sentences
from service.run.refit import Progress, find_or_refit
from service.spec.model import SweepSpec
from service.sweep.environment import get_artifact_location, get_mlflow_uri
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from service.sweep.refit_record import Refit, Registered, get_refit_files, write_refit
from service.sweep.sweep_record import Sweep

if TYPE_CHECKING:
    from service.tracking.mlflow_runs import SweepRuns

_ALWAYS = ("torch", "numpy", "pandas")
_FOR_CODE = ("safetensors", "transformers")


@dataclass(frozen=True)
class Refitted:
    """A refit after a call.

    ``existed`` says that it was there before, ``trials`` how many the sweep has, ``error`` why it
    is not registered; it is None too where MLflow is off.
    """

    refit: Refit
    existed: bool
    trials: int
    error: GapsweepError | None = None


def refit_sweep(
    folder: SweepFolder,
    home: Home,
    *,
    name: str | None,
    again: bool,
    accept_changes: bool,
    progress: Progress,
) -> Refitted:
    """Refit a sweep unless it has a refit, register it unless it is, and update the report.

    ``name`` is that of the registered model, by default the sweep's. A registry that fails does
    not undo the refit: the next call registers it.

    Raises:
        GapsweepError: see :func:`service.run.refit.find_or_refit`.
    """
    refit, existed = find_or_refit(
        folder, again=again, accept_changes=accept_changes, progress=progress
    )
    with folder.lock():
        spec, study, sweep = read_sweep(folder)
        description = _update_report(sweep, study, folder) if not existed else ""
        wanted = name or (refit.registered.name if refit.registered else spec.name)
        if refit.registered is not None and refit.registered.name == wanted:
            return Refitted(refit, existed, len(sweep.trials))
        try:
            registered = _register(spec, sweep, folder, home, refit, wanted, description)
        except GapsweepError as error:
            return Refitted(refit, existed, len(sweep.trials), error)
        if registered is not None:
            refit = refit.model_copy(update={"registered": registered})
            write_refit(folder, refit)
    return Refitted(refit, existed, len(sweep.trials))


def _update_report(sweep: Sweep, study: Any, folder: SweepFolder) -> str:
    """Write the page anew, which mentions the refit; its verdict. It may be lost."""
    from service.report.write import write_report
    from service.sweep.lost_items import Losses, attempt

    data = attempt(Losses(), "report.html", lambda: write_report(sweep, study, folder))
    return "" if data is None else data.description


def _register(
    spec: SweepSpec,
    sweep: Sweep,
    folder: SweepFolder,
    home: Home,
    refit: Refit,
    name: str,
    verdict: str,
) -> Registered | None:
    uri, artifacts = get_mlflow_uri(home), get_artifact_location(home)
    if uri is None:
        return None
    from service.tracking.model_registry import ModelEntry, register
    from trainables.analysis.example import load_example

    files = get_refit_files(folder, refit)
    card = _read_card(files, folder)
    try:
        example, outputs = load_example(files / "example.npz")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the files of {folder.sweep_id}'s refit are damaged ({error}); "
            f"gapsweep refit {folder.sweep_id} --again makes it anew"
        ) from None
    claim = "unconfirmed" if sweep.answer is None else sweep.answer.claim.value
    entry = ModelEntry(
        key=f"{folder.sweep_id}/{refit.files}",
        name=name,
        sweep_id=folder.sweep_id,
        trial=refit.trial,
        description=_describe(verdict or _write_verdict(sweep), refit),
        params={**refit.params, "epochs": refit.epochs, "samples": refit.rows},
        metrics={**refit.test, **refit.metrics},
        tags={
            "gapsweep.answer.claim": claim,
            "gapsweep.refit.confirmed": str(refit.confirmed),
            "gapsweep.configuration": refit.configuration,
            "gapsweep.seed": str(refit.seed),
            **{f"gapsweep.data.{n}": digest for n, digest in refit.data.items()},
        },
        files=files,
        example=example,
        outputs=outputs,
        requirements=_list_requirements(card),
        loose=getattr(spec.data, "categories", ()),
        when=int(1000 * refit.created),
    )
    return register(_open_runs(spec, folder, uri, artifacts), uri, artifacts, entry)


def _read_card(files: Path, folder: SweepFolder) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((files / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the files of {folder.sweep_id}'s refit are missing or damaged ({error}); "
            f"gapsweep refit {folder.sweep_id} --again makes it anew"
        ) from None
    return card


def _write_verdict(sweep: Sweep) -> str:
    from service.report.verdict import write_verdict

    return "" if sweep.answer is None else write_verdict(sweep, sweep.answer)


def _describe(verdict: str, refit: Refit) -> str:
    gap = refit.test.get("test_gap/loss")
    more = [] if gap is None else [f"Its gap between test and training loss is {gap:.4g}."]
    inputs = (
        "Inputs are raw, as the source of the sweep's data has them; outputs are logits, or a "
        "regression in the target's units."
    )
    paragraphs = [" ".join([*write_sentences(refit), *more]), f"The sweep: {verdict}", inputs]
    return "\n\n".join(escape_markdown(p) for p in paragraphs)


def _list_requirements(card: dict[str, Any]) -> tuple[str, ...]:
    """Packages at their versions; gapsweep where only it can build the network."""
    needed = list(_ALWAYS)
    if card["program"] is None:
        needed += _FOR_CODE
        needed += ["gapsweep"] if card["network"]["is_trainable"] else []
    found = card["libraries"]
    return tuple(f"{n}=={found[n].partition('+')[0]}" for n in needed if n in found)


def _open_runs(spec: SweepSpec, folder: SweepFolder, uri: str, artifacts: str | None) -> SweepRuns:
    """The sweep's runs; its own run is created where MLflow was off while it ran."""
    from service.tracking.mlflow_runs import SweepRuns
    from service.tracking.tracked_sweep import TrackedSweep

    data = "" if spec.data is None else spec.data.name
    described = {"trainable": spec.trainable, "data": data}
    tracked = TrackedSweep(
        sweep_id=folder.sweep_id,
        name=spec.name,
        trainable=spec.trainable,
        data=data,
        data_digest="",
        params=described,
        spec=folder.spec,
    )
    return SweepRuns(uri, artifacts, tracked)
