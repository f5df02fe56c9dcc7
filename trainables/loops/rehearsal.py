"""Rehearses a user's training loop up to its first report, on one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from trainables.config.regularisers import BY_KEY
from trainables.config.trial_parameters import MODEL_PREFIX, is_of_regularisers
from trainables.loops.own import OwnRun
from trainables.loops.reported_metrics import REPORTED

_APPLIED = ("max_epochs", "eval_batch_size", "seed", "weight_init_seed")
"""Keys of ``training`` that act on any loop."""


@dataclass(frozen=True)
class LoopFindings:
    """What a rehearsal of a loop found.

    ``metrics`` are the names of an epoch's metrics. ``notes`` say what the loop leaves out.
    ``measured``: trial.evaluate measures the samples of the spec's data. ``hidden`` is
    regularisation that no strength of a space reaches, in words.
    """

    metrics: tuple[str, ...]
    notes: tuple[str, ...]
    uses_data: bool
    measured: bool
    hidden: tuple[str, ...] = ()


def rehearse(run: OwnRun, space: Mapping[str, object]) -> LoopFindings:
    """Run the loop to its first report; ``run`` has few samples, and cannot be used afterwards.

    Raises:
        TrainableError: the loop fails, or reports something that is no metric.
    """
    try:
        first = next(run.train())
        decays, dropped = run.decays, tuple(_list_dropout(run))
    finally:
        run.close()
    notes = (*_list_notes(run, first.metrics), *_list_unapplied(run, space))
    hidden = [f"{decay} of the optimizer, in every trial but the baseline" for decay in decays]
    if dropped:
        hidden.append(
            f"dropout in {', '.join(dropped)} of the network, in the baseline too: the loop "
            "does not give it to trial.regularise, or set it by trial.params"
        )
    return LoopFindings(tuple(first.metrics), notes, run.uses_data, run.measured, tuple(hidden))


def _list_dropout(run: OwnRun) -> Iterator[str]:
    """The layers that drop something in the baseline."""
    if run.shows_network and not run.regularises:
        for name, module in run.model.named_modules():
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
                yield name


def _list_notes(run: OwnRun, metrics: Mapping[str, float]) -> Iterator[str]:
    if not run.evaluates:
        yield "there is no gap: the loop does not call trial.evaluate(model)"
    if not run.uses_data:
        yield "the loop has data of its own: replicates have new seeds, and the same data"
    if any(name.startswith(REPORTED) for name in metrics):
        yield (
            f"{REPORTED}*: as reported by the loop, maybe with dropout and augmentation; no gap is "
            "computed from them"
        )
    if not run.saves:
        yield "the loop has no trial.checkpoint: an interrupted trial begins anew"


def _list_unapplied(run: OwnRun, space: Mapping[str, object]) -> Iterator[str]:
    """The parameters of the space that nothing in the loop reads or applies."""
    unread = [name for name in space if name not in run.params.read]
    ours = [name for name in unread if name in BY_KEY or is_of_regularisers(name)]
    ours += [name for name in unread if "." in name and not name.startswith(MODEL_PREFIX)]
    if ours and not run.regularises:
        yield f"{', '.join(ours)}: sampled, but the loop never calls trial.regularise"
    lost = [name for name in unread if name not in (*ours, *_APPLIED)]
    if lost:
        yield f"{', '.join(lost)}: sampled, but the loop never reads trial.params"
