"""Tables of `validate` and `devices`: the contents of a spec, the nodes of a cluster."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table

from search_spaces.space import SearchSpace
from service.base.number_format import duration
from service.cluster.inventory import Inventory, Node, format_count
from service.run.cost_estimate import CostEstimate, estimate_cost
from service.run.lane_plan import OFF, LanePlan
from service.run.preflight import Preflight
from service.spec.model import SweepSpec
from trainables.analysis.examine import Examination
from trainables.config.precision import PRECISIONS
from trainables.data.splits import Splits, describe_size
from trainables.loops.rehearsal import LoopFindings
from trainables.regularisers.dropout import find_dropout

_MIB, _GIB = 2**20, 2**30


def build_spec_table(spec: SweepSpec, found: Preflight, lanes: LanePlan = OFF) -> Table:
    """The result of checking a spec without training."""
    return _build_grid(
        [
            ("data", _describe_sizes(spec, found.splits)),
            *found.reading,
            *(_list_examined(spec, found, found.examination, lanes) if found.examination else ()),
            *(_list_of_loop(spec, found, found.loop) if found.loop else ()),
            *_list_ranges(spec.space if found.ranges is None else found.ranges.space),
            *_list_meanings(found),
            ("metrics", ", ".join(_list_metrics(found))),
            ("objective", _describe_direction(spec)),
            *_list_shared(lanes),
        ]
    )


def _list_shared(lanes: LanePlan) -> Iterator[tuple[str, str]]:
    """What `resources.fuse` does, unless it is off."""
    if lanes != OFF:
        yield "shared steps", lanes.words


def _describe_sizes(spec: SweepSpec, splits: Splits) -> str:
    if spec.data is None:
        return "none here: the loop has its own"
    sizes = [describe_size(split) for split in (splits.train, splits.val, splits.test)]
    folds = f" in fold 1 of {spec.search.folds}" if spec.search.folds else ""
    return "{} train, {} val, {} test samples".format(*sizes) + folds


def _list_metrics(found: Preflight) -> tuple[str, ...]:
    if found.loop is not None:
        return found.loop.metrics
    return found.examination.metrics if found.examination else ()


def _list_of_loop(
    spec: SweepSpec, found: Preflight, loop: LoopFindings
) -> Iterator[tuple[str, str]]:
    """What a rehearsal of a user's own loop found."""
    yield "loop", f"{spec.trainable}, to its first report on one batch"
    yield from (("", note) for note in loop.notes)
    yield from (("not neutral", text) for text in found.not_neutral)
    yield "trainings", _count_trainings(spec)


def _list_examined(
    spec: SweepSpec, found: Preflight, examined: Examination, lanes: LanePlan
) -> Iterator[tuple[str, str]]:
    """What a rehearsal of our loop found."""
    at_once = spec.training.eval_batch_size
    weights = sum(p.numel() for p in found.run.model.parameters())
    penalised = sum(w.weight.numel() for w in found.run.penalised)
    yield "network", f"{weights:,} weights, {penalised:,} of them penalised:"
    yield "", ", ".join(w.name for w in found.run.penalised)
    yield "dropout", ", ".join(find_dropout(found.run.model)) or "none"
    yield from (("not neutral", text) for text in found.not_neutral)
    yield "learning rate", examined.rates
    yield "one step", f"{1000 * examined.seconds:.1f} ms, {_format_size(examined.step_memory)}"
    yield "evaluation", f"{_format_size(examined.eval_memory)}, in batches of {at_once}"
    yield from _list_costs(spec, examined, lanes)


def build_external_table(spec: SweepSpec, reading: Sequence[str]) -> Table:
    """The result of checking a spec whose trials a loop elsewhere asks for."""
    trained = "by a loop of yours, which asks for its trials: gapsweep.ask_tell(SPEC)"
    return _build_grid(
        [
            ("trained", trained),
            *itertools.zip_longest(("data",), reading or ("none",), fillvalue=""),
            *_list_ranges(spec.space),
            ("trainings", _count_trainings(spec)),
            ("needed", ", ".join(spec.required_metrics)),
            ("objective", _describe_direction(spec)),
        ]
    )


def _list_ranges(space: SearchSpace) -> Iterator[tuple[str, str]]:
    """What varies: a row for each parameter, and for each alternative of one."""
    titles = itertools.chain(["space"], itertools.repeat(""))
    for title, dimension in zip(titles, space.dimensions, strict=False):
        where = f", where {dimension.condition}" if dimension.condition else ""
        yield title, f"{dimension.name}: {dimension.plain.summarise()}{where}"


def _list_meanings(found: Preflight) -> Iterator[tuple[str, str]]:
    """What the ranges of λ mean, and a warning for each that cannot act."""
    if found.ranges is not None:
        yield from itertools.zip_longest(("what λ means",), found.ranges.notes, fillvalue="")
        yield from (("warning", text) for text in found.ranges.warnings)


def _describe_direction(spec: SweepSpec) -> str:
    better = {"min": "lower", "max": "higher"}
    found = [f"{spec.objective.metric}, {better[spec.objective.mode]} is better"]
    if spec.early_stopping is not None:
        watched = spec.early_stopping
        found.append(f"{watched.metric}, {better[watched.mode]} is better")
    same = len(set(found)) < len(found)
    shown = found[0] if same else "; early stopping: ".join(found)
    folds = spec.search.folds
    return f"{shown}; of a trial the mean over {folds} folds" if folds else shown


def _count_trainings(spec: SweepSpec) -> str:
    confirm, budget = spec.confirm, spec.budget
    after = confirm.total_trainings if confirm else 0
    confirming = f"at most {after} to confirm" if after else "none to confirm (unconfirmed)"
    if spec.audit:
        confirming = f"at most {spec.audit.trials} to audit the pruner; {confirming}"
    controls = f", of which {spec.controls} tune controls" if spec.controls else ""
    folds = f", each on at most {spec.search.folds} folds" if spec.search.folds else ""
    return f"{budget.trials} of the search{controls}{folds}; {confirming}"


def _list_costs(
    spec: SweepSpec, examined: Examination, lanes: LanePlan
) -> Iterator[tuple[str, str]]:
    """What the whole sweep may cost at most, by the time of one step on this CPU."""
    budget, concurrent = spec.budget, spec.resources.concurrent
    yield "trainings", _count_trainings(spec)
    cost = estimate_cost(spec, examined)
    if cost is None:
        yield "time", "not known: train is a stream, and training.steps_per_epoch is not set"
        return
    at_once = f"{concurrent} at once"
    if lanes.shares:
        at_once = f"{_count_processes(concurrent)} of up to {lanes.widths.most} trials"
    shared = duration(round(_divide_by_gain(cost, lanes) / concurrent))
    limit = "" if budget.minutes is None else f"; the budget ends it after {budget.minutes:g} min"
    yield "time", f"at most about {shared}, {at_once}{limit}"
    if spec.resources.gpus:
        hours = cost.seconds * spec.resources.gpus / 3600
        yield "GPU hours", f"at most about {hours:.2g}, if a GPU is as fast as this CPU"


def _divide_by_gain(cost: CostEstimate, lanes: LanePlan) -> float:
    """The seconds of all trainings, of which those that share their steps take less."""
    gain = lanes.gain or 1.0
    searched = cost.searched / (gain if lanes.widths.search > 1 else 1.0)
    after = cost.after / (gain if lanes.widths.after > 1 else 1.0)
    return (searched + after) * cost.epochs * cost.epoch


def _count_processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def build_cluster_table(inventory: Inventory) -> Table:
    """One row per node."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("node", "CPUs", "memory", "GPUs", "GPU memory", "precision", "compiler"):
        table.add_column(title, overflow="fold")
    for node in inventory.nodes:
        machine = node.machine
        table.add_row(
            node.name,
            f"{node.cpus:g}",
            f"{machine.memory / _GIB:.0f} GiB",
            _count(g.name for g in machine.gpus) if node.gpus else "none",
            _count(f"{g.memory / _GIB:.0f} GiB" for g in machine.gpus) if node.gpus else "",
            _format_precisions(node),
            machine.compiler or "none",
        )
    return table


def build_use_table(spec: SweepSpec, inventory: Inventory, lanes: LanePlan = OFF) -> Table:
    """The resources of a spec's trials.

    Raises:
        InputError: no trial fits.
    """
    resources, training = spec.resources, spec.training
    at_once = inventory.check(spec)
    each = [format_count(resources.worker_cpus, "CPU"), format_count(resources.worker_gpus, "GPU")]
    fits = f"{inventory.count_trials(resources)} fit, concurrent is {resources.concurrent}"
    compiled = ", compiled" if training.compile else ""
    at_trials = format_count(at_once, "trial")
    if lanes.shares:
        at_trials = f"{at_once * lanes.widths.most} trials in {_count_processes(at_once)}"
    return _build_grid(
        [
            (
                "each trial",
                f"{format_count(resources.workers, 'worker')} with {' and '.join(each)} each",
            ),
            ("placement", resources.placement),
            ("precision", f"{training.precision}{compiled}"),
            ("at once", f"{at_trials} ({fits})"),
            *_list_shared(lanes),
        ]
    )


def _format_size(memory: int) -> str:
    return f"{memory / _MIB:.1f} MiB" if memory >= _MIB else f"{memory / 2**10:.0f} KiB"


def _format_precisions(node: Node) -> str:
    """The precisions that all CPUs, and all GPUs, of a node support."""
    gpus = [p for p in PRECISIONS if all(g.can(p) for g in node.machine.gpus)]
    cpus = [p for p in PRECISIONS if node.machine.can(p)]
    on_cpus = f"CPU {', '.join(cpus)}"
    return f"{on_cpus}; GPU {', '.join(gpus)}" if node.gpus else on_cpus


def _count(names: Iterable[str]) -> str:
    return ", ".join(f"{n} × {name}" for name, n in Counter(names).items())


def _build_grid(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    return table
