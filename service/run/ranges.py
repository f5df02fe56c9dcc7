"""The ranges of λ that a sweep samples: computes automatic ones, and says what ends mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from search_spaces.kinds import Alternatives, Auto, Choice, Float, Int, Plain
from search_spaces.space import SearchSpace
from search_spaces.values import Value, write
from service.base.errors import Problem, SpecError
from service.report.formatting import format_share
from service.spec.model import SweepSpec
from trainables.analysis.lambda_probe import SHRINKS, Prober, Strength
from trainables.analysis.linear import find_largest
from trainables.build import build_run
from trainables.config.penalties import penalties
from trainables.config.regularisers import Penalty
from trainables.config.training import scale_for_workers
from trainables.data.splits import Splits
from trainables.loop import TrainingRun
from trainables.regularisers.step_sizes import knows_step

_UPDATES = ("optimizer", "l1_update", "l2_update", "proximal_step")
"""The keys of a training that change what λ means."""
_MOST_UPDATES = 6
_RATIO = 0.5
"""``l1_ratio`` where a range of elastic net is computed."""
_GLMNET = 1000.0
"""glmnet's largest λ is so many times the smallest one."""
_UNKNOWN = (1e-6, 1e-1)
"""The range of a penalty that acts on nothing."""
_LEAST_RATIO = 10.0

Point = Mapping[str, Value]


@dataclass(frozen=True)
class Ranges:
    """The space to sample, and what its ranges of λ mean, in words.

    ``warnings`` are of ranges that cannot act.
    """

    space: SearchSpace
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def compute_ranges(spec: SweepSpec, splits: Splits, steps: int | None) -> Ranges:
    """Replace automatic ranges of λ, and measure what the ends of all its ranges mean.

    ``steps`` is the number of steps of an epoch, None where it is not known.

    Raises:
        SpecError: an automatic range cannot be computed.
        ContractError: user-defined code failed.
    """
    if Penalty.strength not in spec.space.parameters:
        return Ranges(spec.space)
    plains = [d.plain for d in spec.space.list_dimensions(Penalty.strength)]
    automatic = any(isinstance(plain, Auto) for plain in plains)
    if steps is None:
        _refuse_unknown_steps(automatic)
        return Ranges(spec.space)
    meter = _Meter(spec, splits, steps)
    found = [one for plain in plains for one in meter.measure(plain)]
    space = spec.space
    if automatic:
        sampled: list[Plain] = []
        sampled += [one.plain for one in found if one.plain not in sampled]
        space = space.replace(
            Penalty.strength, sampled[0] if len(sampled) == 1 else Alternatives(tuple(sampled))
        )
    notes = (*(one.describe() for one in found), *meter.list_remarks())
    return Ranges(space, notes, tuple(text for one in found for text in one.warn()))


def _refuse_unknown_steps(automatic: bool) -> None:
    if automatic:
        text = (
            "an automatic range needs the number of steps of an epoch, and train is a stream; set "
            "training.steps_per_epoch, or give a range"
        )
        raise SpecError("the spec", [Problem(f"space.{Penalty.strength}", text)])


@dataclass(frozen=True)
class _Measured:
    """A range of one penalty, and what λ does there; ``computed`` is what is so at its high end."""

    plain: Float | Int | Choice
    penalty: str
    update: Point
    strength: Strength
    computed: str = ""

    def describe(self) -> str:
        """The range, and what its ends mean."""
        low, high = self._ends()
        named = f"{self.penalty}{_name_update(self.update)}: λ {low:.3g} to {high:.3g}"
        if not self.strength.pull:
            return f"{named} acts on no weight of this network"
        slow, fast = (_write_epochs(self.strength.half_life(end)) for end in (low, high))
        found = [f"{named} halves weights in {slow} to {fast} epochs"]
        high_end = self._describe_high()
        found += [f"at the high end {high_end}"] if high_end else []
        idle = self._find_idle_share()
        if 0.5 <= idle < 1:
            found.append(
                f"{format_share(idle)} of the range shrinks weights by less than "
                f"{format_share(SHRINKS)} over the run (λ below {self.strength.low:.2g})"
            )
        return "; ".join(found)

    def _describe_high(self) -> str:
        """What is so at the high end; empty if nothing is known."""
        zeros = self.strength.zeros
        shown = f"{format_share(zeros)} of weights are 0 in the probe" if zeros else ""
        return " and ".join(text for text in (self.computed, shown) if text)

    def warn(self) -> Iterator[str]:
        """That the penalty does nothing anywhere in its range, if so."""
        _, high = self._ends()
        name = f"{Penalty.strength} of {self.penalty}{_name_update(self.update)}"
        if not self.strength.pull:
            yield f"{name} cannot act: the penalty acts on no weight of this network; remove it"
        elif high < self.strength.low:
            shrinks = -math.expm1(-self.strength.pull * high)
            yield (
                f"{name} cannot act: at its highest value, {high:.3g}, weights shrink by "
                f"{format_share(shrinks)} over {self.strength.epochs} epochs; use "
                f"`auto`, or values from {self.strength.low:.2g} on"
            )

    def _ends(self) -> tuple[float, float]:
        ends = [float(v) for v in self.plain.samples() if isinstance(v, int | float)]
        return min(ends), max(ends)

    def _find_idle_share(self) -> float:
        """The share of the range, on its own scale, below the useful low end."""
        (low, high), limit = self._ends(), self.strength.low
        if not low < limit or not low < high:
            return 0.0
        log = isinstance(self.plain, Float | Int) and self.plain.log
        scale = math.log if log else float
        return (scale(min(limit, high)) - scale(low)) / (scale(high) - scale(low))


class _Meter:
    """Measures ranges by probes of the baseline's training with one penalty each."""

    def __init__(self, spec: SweepSpec, splits: Splits, steps: int) -> None:
        training = scale_for_workers(spec.training, spec.resources.workers)
        changes = {"training": training.model_copy(update={"compile": False})}
        self._spec, self._splits = spec.model_copy(update=changes), splits
        self._steps = steps
        self._probers: dict[str, Prober] = {}
        self._found: dict[tuple[str, str], Strength] = {}
        self._unknown: dict[str, None] = {}

    def measure(self, plain: Plain) -> Iterator[_Measured]:
        """The ranges that a definition of λ stands for, one for each penalty and update."""
        named = plain.when.get(Penalty.selector) or self._list_penalties()
        for penalty in map(str, named):
            for update in self._list_updates(plain) if isinstance(plain, Auto) else [{}]:
                if isinstance(plain, Auto):
                    yield self._compute(plain, penalty, update)
                else:
                    high = max(float(v) for v in plain.samples() if isinstance(v, int | float))
                    yield _Measured(plain, penalty, update, self._probe(penalty, update, high))

    def list_remarks(self) -> Iterator[str]:
        """What is to be known of optimisers, each once."""
        for name in self._unknown:
            yield (
                f"the step of {name} is not known: thresholds have its learning rate, and λ is not "
                "the objective's"
            )

    def _list_penalties(self) -> list[Value]:
        parameter = self._spec.space.parameters.get(Penalty.selector)
        return [v for v in parameter.choices() if v != "none"] if parameter else []

    def _list_updates(self, plain: Plain) -> list[Point]:
        """The ways in which λ may act, where the space varies them without a condition on λ."""
        space = self._spec.space.parameters
        varied = {k: space[k].choices() for k in _UPDATES if k in space and k not in plain.when}
        varied = {k: values for k, values in varied.items() if len(values) > 1}
        if math.prod(map(len, varied.values())) > _MOST_UPDATES:
            return [{}]
        return [dict(zip(varied, values, strict=True)) for values in product(*varied.values())]

    def _compute(self, plain: Plain, penalty: str, update: Point) -> _Measured:
        """The range of one penalty and update."""
        run = self._build(penalty, update)
        largest = find_largest(run) if _is_sparse(penalty, run) else None
        if largest:
            high = largest / (_RATIO if penalty == "elastic_net" else 1)
            low, strength = high / _GLMNET, self._probe(penalty, update, 0.0)
            computed = "all coefficients are 0"
            strength = replace(strength, zeros=None)
        else:
            strength = self._probe_whole(penalty, update)
            low, high = _choose_ends(strength)
            computed = _describe_reached(strength)
        when = {**plain.when, Penalty.selector: (penalty,), **{k: (v,) for k, v in update.items()}}
        ends = tuple(float(f"{end:.2g}") for end in (low, high))
        sampled = Float.model_validate({"float": ends, "log": True, "when": when})
        return _Measured(sampled, penalty, update, strength, computed)

    def _probe_whole(self, penalty: str, update: Point) -> Strength:
        """The strength of a penalty, with its high end.

        That of elastic net follows from the one of L1, if that was measured.
        """
        l1 = self._found.get(("l1", repr(update)))
        if penalty != "elastic_net" or l1 is None or l1.high is None:
            found = self._probe(penalty, update, None)
            self._found[penalty, repr(update)] = found
            return found
        own = self._probe(penalty, update, 0.0)
        return replace(own, high=l1.high / _RATIO, zeros=l1.zeros, diverges=l1.diverges)

    def _probe(self, penalty: str, update: Point, until: float | None) -> Strength:
        prober = self._probers.setdefault(repr(update), Prober(self._steps))
        return prober.probe(lambda: self._build(penalty, update), until=until)

    def _build(self, penalty: str, update: Point) -> TrainingRun:
        """The baseline's training with a penalty at λ = 1."""
        added: dict[str, Value] = {Penalty.selector: penalty, Penalty.strength: 1.0}
        if "l1_ratio" in penalties.parse(penalty).reads:
            added["l1_ratio"] = _RATIO
        point = {**self._spec.example_point(), **update, **added}
        run = build_run(self._spec, point, self._splits, baseline=True, device="cpu")
        optimizer = run.parts.optimizer
        if run.training.proximal_step == "adaptive" and not knows_step(optimizer):
            self._unknown[type(optimizer).__name__] = None
        return run


def _is_sparse(penalty: str, run: TrainingRun) -> bool:
    """Whether the penalty is one of the objective that makes single weights 0."""
    adaptive = run.training.proximal_step == "adaptive" and knows_step(run.parts.optimizer)
    objective = adaptive or run.training.l1_update == "subgradient"
    return penalty in ("l1", "elastic_net") and objective


def _choose_ends(strength: Strength) -> tuple[float, float]:
    if not strength.pull or strength.high is None:
        return _UNKNOWN
    return strength.low, max(strength.high, _LEAST_RATIO * strength.low)


def _describe_reached(strength: Strength) -> str:
    if strength.high is None:
        return ""
    if strength.diverges:
        return "the training is about to diverge"
    return "the training loss is that of the constant predictor"


def _name_update(update: Point) -> str:
    named = ", ".join(f"{key} {write(value)}" for key, value in update.items())
    return f" ({named})" if named else ""


def _write_epochs(epochs: float) -> str:
    if math.isinf(epochs):
        return "endlessly many"
    return f"{epochs:.2g}" if epochs < 100 else f"{epochs:,.0f}"
