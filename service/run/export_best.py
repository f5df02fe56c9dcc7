"""Exports the refit of a sweep, or its best trial, to files that do not depend on gapsweep."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from search_spaces.values import Value
from service.base.disk import check_room, explain_full_disk, is_disk_full
from service.base.errors import GapsweepError, InputError, NotReadyError
from service.run.best_model import load_best_run, read_weights
from service.run.code_map import map_code
from service.run.refit import Material, open_material, rebuild_refit
from service.run.user_code import fingerprint_code, use_folders
from service.spec.model import SweepSpec
from service.study.records import Trial
from service.sweep.home import SweepFolder
from service.sweep.load import read_sweep
from service.sweep.refit_record import Refit, get_refit_files, read_refit
from service.sweep.sweep_record import Sweep
from trainables.analysis.export import Origin, export_network, export_state, list_files
from trainables.analysis.export_subject import SAMPLES, gather_subject
from trainables.analysis.program import Format
from trainables.analysis.pruning import Removed, prune
from trainables.data.pooled_samples import take_raw
from trainables.data.splits import Splits
from trainables.run import Run

Source = Literal["refit", "best"]


@dataclass(frozen=True)
class Exported:
    """The files that were written, of what, and the units that were removed before.

    ``reason`` and ``unverified`` are those of :class:`trainables.analysis.export.Written`; with
    ``has_categories`` the program takes numbers of categories, which ``rebuild.py`` finds; with
    ``needs_gapsweep`` it builds the network by a class of gapsweep.
    """

    what: str
    files: tuple[Path, ...]
    removed: tuple[Removed, ...]
    parameters: tuple[int, int]
    reason: str
    unverified: str
    has_categories: bool
    needs_gapsweep: bool


def export_sweep(
    folder: SweepFolder,
    to: Path,
    form: Format,
    *,
    source: Source | None,
    pruned: bool,
    accept_changes: bool = False,
) -> Exported:
    """Write the network of the refit, if there is one, else of the best trial.

    ``pruned`` removes its zero units. A refit is copied as it was exported when it was trained,
    without its data, unless it is pruned or another format is asked for.

    Raises:
        NotReadyError: there is no refit, or no completed trial with weights.
        ChangedSweepError: data or code are not what the network was trained on.
        InputError: its data or code cannot be used, or the folder cannot be written.
        DiskFullError: the disk is full.
    """
    spec, _, sweep = read_sweep(folder)
    refit = None if source == "best" else read_refit(folder)
    if source == "refit" and refit is None:
        raise NotReadyError(
            f"{folder.sweep_id} has no refit; `gapsweep refit {folder.sweep_id}` makes one, and "
            "--from best exports the best trial"
        )
    with explain_full_disk(to, "the export is not complete"):
        if refit is not None and form == "export" and not pruned:
            return _copy_refit(folder, refit, to)
        if spec.data is None:
            return _write_weights(spec, sweep, folder, to)
        with open_material(
            spec,
            folder,
            accept_changes=accept_changes or bool(refit and refit.changes),
            of_trials=False,
        ) as material:
            if refit is not None:
                run, splits = rebuild_refit(material, folder, refit)
                card, what = _describe_refit(folder, refit), _name_refit(refit)
                params: Mapping[str, Value] = refit.params
            else:
                run, splits, card, params, what = _load_best(material, sweep, folder)
            return _write(material, run, splits, params, card, what, to, form, pruned=pruned)


def _load_best(
    material: Material, sweep: Sweep, folder: SweepFolder
) -> tuple[Run, Splits, dict[str, Any], Mapping[str, Value], str]:
    splits = material.rows.divide_for_search(material.spec.search.folds)
    run = load_best_run(material.spec, sweep, splits, folder)
    best = sweep.best
    assert best is not None
    card = _describe_best(folder, best)
    return run, splits, card, best.params, f"best: trial {best.number}, as the search trained it"


def _write_weights(spec: SweepSpec, sweep: Sweep, folder: SweepFolder, to: Path) -> Exported:
    """Write the weights of the best trial of a spec without data."""
    best = sweep.best
    if best is None:
        raise NotReadyError(f"{folder.sweep_id} has no completed trial with weights")
    with use_folders(*folder.read_import_paths()):
        code = map_code(fingerprint_code(spec))
    origin = Origin(spec.trainable, spec.model, is_loop=True, code=code)
    reason = "the spec names no `data`, so that the shape of inputs is not known"
    with _writing(to):
        state = read_weights(folder, best.number)
        written = export_state(state, origin, to, reason, _describe_best(folder, best))
    what = f"best: trial {best.number}, as the search trained it"
    return Exported(
        what, written.files, (), (0, 0), written.reason, written.unverified, False, False
    )


def _describe_best(folder: SweepFolder, best: Trial) -> dict[str, Any]:
    return {
        "sweep": folder.sweep_id,
        "refit": False,
        "trial": best.number,
        "params": dict(best.params),
        "metrics": dict(best.best),
    }


def _name_refit(refit: Refit) -> str:
    return f"refit: trial {refit.trial} trained again on all {refit.rows:,} samples but the test's"


def _describe_refit(folder: SweepFolder, refit: Refit) -> dict[str, Any]:
    return {
        "sweep": folder.sweep_id,
        "refit": True,
        "trial": refit.trial,
        "params": dict(refit.params),
        "epochs": refit.epochs,
        "metrics": {**refit.metrics, **refit.test},
    }


def _write(
    material: Material,
    run: Run,
    splits: Splits,
    params: Mapping[str, Value],
    card: Mapping[str, Any],
    what: str,
    to: Path,
    form: Format,
    *,
    pruned: bool,
) -> Exported:
    before = run.model.eval()
    samples, _ = run.data.val.head(run.training.eval_batch_size)
    network, removed = prune(before, samples) if pruned else (before, ())
    raw = take_raw(material.rows, SAMPLES, merged=bool(card["refit"]))
    subject = gather_subject(material.spec, params, run, splits, raw, material.code, network)
    with _writing(to):
        written = export_network(
            subject, to, form, card={**card, "removed": [asdict(r) for r in removed]}
        )
    counts = (_count_parameters(before), _count_parameters(network))
    return Exported(
        what,
        written.files,
        removed,
        counts,
        written.reason,
        written.unverified,
        *_read_needs(to),
    )


def _read_needs(folder: Path) -> tuple[bool, bool]:
    """Whether an export's inputs have categories, and whether gapsweep builds its network."""
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    columns = card["preprocessing"]["columns"]
    alone = card["program"] is not None or not card["network"]["is_trainable"]
    return any(c["categories"] is not None for c in columns), not alone


def _copy_refit(folder: SweepFolder, refit: Refit, to: Path) -> Exported:
    """Copy what was exported when the refit was trained."""
    place = get_refit_files(folder, refit)
    if not (place / "model.json").exists():
        raise InputError(
            f"the files of {folder.sweep_id}'s refit are missing; "
            f"gapsweep refit {folder.sweep_id} --again makes it anew"
        )
    with _writing(to):
        files = copy_export(place, to)
    needs = _read_needs(to)
    what = _name_refit(refit)
    return Exported(what, files, (), (0, 0), refit.no_program, refit.unverified, *needs)


@contextmanager
def _writing(to: Path) -> Iterator[None]:
    """Tell why a folder cannot be written.

    Raises:
        InputError: it cannot be written.
        DiskFullError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        raise InputError(f"{to} cannot be written ({error.strerror})") from None
    except GapsweepError:
        raise
    except Exception:  # the writers of weights do not say why they failed
        if to.is_dir():
            check_room(to)
        raise


def copy_export(place: Path, to: Path) -> tuple[Path, ...]:
    """Copy an export in place of an earlier one."""
    to.mkdir(parents=True, exist_ok=True)
    for path in list_files(to):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list_files(place):
        if path.is_dir():
            shutil.copytree(path, to / path.name)
        else:
            shutil.copyfile(path, to / path.name)
    return list_files(to)


def _count_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
