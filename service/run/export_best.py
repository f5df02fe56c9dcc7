"""Exports the best model of a sweep to files that do not depend on gapsweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from service.base.errors import InputError
from service.run.best_model import load_best_run
from service.spec.model import SweepSpec
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from trainables.analysis.export import Format, export_network
from trainables.analysis.pruning import Removed, prune
from trainables.data.no_rows import NoSplits
from trainables.data.splits import Splits
from trainables.errors import TrainableError


@dataclass(frozen=True)
class Exported:
    """The files that were written, and the units that were removed before."""

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
    """Write the model of the best trial; ``pruned`` removes its zero units.

    Raises:
        InputError: the sweep has no best trial with weights, torch cannot export the network, or
            the folder cannot be written.
    """
    if isinstance(splits, NoSplits):
        raise InputError(
            f"{spec.trainable} has data of its own, so that the shape of inputs is not known here; "
            f"gapsweep.open_sweep({folder.sweep_id!r}).best_model() gives the network, which "
            "torch.export can export with an input of yours"
        )
    run = load_best_run(spec, sweep, splits, folder)
    before, best = run.model, sweep.best
    assert best is not None
    samples, _ = run.data.val.head(run.training.eval_batch_size)
    network, removed = prune(before, samples) if pruned else (before, ())
    card = {
        "sweep": folder.sweep_id,
        "trial": best.number,
        "params": dict(best.params),
        "metrics": dict(best.best),
        "removed": [asdict(r) for r in removed],
    }
    try:
        files = export_network(
            network, splits.preprocessing, splits.info, samples, to, form, **card
        )
    except TrainableError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{to} cannot be written ({error.strerror})") from None
    return Exported(files, removed, (_count_parameters(before), _count_parameters(network)))


def _count_parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
