"""A sweep's best model as files for those who use it, without anything of the sweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from service.base.errors import InputError
from service.spec.model import SweepSpec
from service.study.records import Role
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from trainables.analysis.export import Format, export_network
from trainables.analysis.pruning import Removed, prune
from trainables.build import build_run
from trainables.data.splits import Splits
from trainables.errors import TrainableError


@dataclass(frozen=True)
class Exported:
    """What was written, and what was taken out before."""

    files: tuple[Path, ...]
    removed: tuple[Removed, ...]
    parameters: tuple[int, int]


def export_best(
    spec: SweepSpec,
    sweep: Sweep,
    splits: Splits,
    folder: SweepFolder,
    to: Path,
    form: Format,
    *,
    pruned: bool,
) -> Exported:
    """Write the best trial's model; with ``pruned`` without its zero units.

    Raises:
        InputError: the sweep has no best trial with weights, torch cannot export the network, or
            the folder cannot be written.
    """
    best = sweep.best
    weights = folder.best_weights(best.number) if best else None
    if best is None or weights is None or not weights.exists():
        raise InputError(f"{folder.sweep_id} has no completed trial whose weights could be written")
    baseline = best.role is Role.BASELINE
    run = build_run(spec, best.params, splits, baseline=baseline, device="cpu")
    run.model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    before = run.model.eval()
    network, removed = prune(before, run.data.val.x[:256]) if pruned else (before, ())
    card = {
        "sweep": folder.sweep_id,
        "trial": best.number,
        "params": dict(best.params),
        "metrics": dict(best.best),
        "removed": [asdict(r) for r in removed],
    }
    try:
        files = export_network(network, splits.preprocessing, splits.info, to, form, **card)
    except TrainableError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{to} cannot be written ({error.strerror})") from None
    return Exported(files, removed, (_size(before), _size(network)))


def _size(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
