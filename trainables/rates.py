"""The learning rates of a training: what its schedule makes of the rates of the optimiser's groups.

Each group keeps the initial rate that it was made with; the schedule of the spec scales it. Where
the user's code sets rates, by schedulers or in any other way, the spec's schedule leaves them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainables.config.schedules import Plateau
from trainables.config.training import Training
from trainables.errors import ContractError, blame
from trainables.regularisers.base import Hooks
from trainables.schedulers import OwnScheduler, step_scheduler

LR = "lr"
_SAMPLED = 20
"""Steps of an epoch at which a schedule is evaluated, to estimate its mean."""
_MOST_SIMULATED = 200_000


@dataclass(frozen=True)
class Timetable:
    """The spec's schedule and warm-up, as a factor for every step.

    ``steps_per_epoch`` is None where it is not known before an epoch has ended.
    """

    training: Training
    steps_per_epoch: int | None

    def check(self) -> None:
        """Check that the factor of every step can be computed.

        Raises:
            ContractError: the schedule needs the number of steps, or user-defined code fails.
        """
        if self.steps_per_epoch is not None:
            return
        keys = {"schedule": self.training.schedule.counts_steps}
        keys["warmup_epochs"] = self.training.warmup_epochs > 0
        for key, needed in keys.items():
            if needed:
                raise ContractError(
                    "needs the number of steps of an epoch, which the data do not say; set "
                    "training.steps_per_epoch",
                    f"training.{key}",
                )

    @property
    def warmup(self) -> int:
        """The steps of the warm-up."""
        in_epochs = self.training.warmup_epochs * (self.steps_per_epoch or 0)
        return max(in_epochs, self.training.warmup_steps)

    def scale(self, epoch: int, step: int) -> float:
        """The factor in an epoch, counted from 1, before which ``step`` steps were taken.

        During a warm-up it rises linearly to the schedule's start; the schedule then runs over the
        rest, its positions being epochs after those that the warm-up fills.
        """
        schedule, training, warmup = self.training.schedule, self.training, self.warmup
        if schedule.counts_steps:
            assert self.steps_per_epoch is not None
            before, position, length = warmup, step, self.steps_per_epoch * training.max_epochs
        else:
            before = warmup // self.steps_per_epoch if self.steps_per_epoch else 0
            position, length = epoch - 1, training.max_epochs
        length = max(1, length - before)
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return rise * schedule.scale(min(max(0, position - before), length - 1), length)

    def list_means(self) -> list[float]:
        """The mean factor of each epoch, of some of its steps."""
        steps = self.steps_per_epoch or 1
        varies = self.training.schedule.counts_steps or self.warmup > 0
        picked = range(0, steps, max(1, steps // _SAMPLED)) if varies else range(1)
        epochs = range(self.training.max_epochs)
        return [sum(self.scale(e + 1, e * steps + s) for s in picked) / len(picked) for e in epochs]

    def describe(self) -> str:
        """The schedule in words."""
        epochs, steps = self.training.warmup_epochs, self.training.warmup_steps
        parts = [self.training.schedule.label]
        parts += [f"warm-up of {epochs} epochs"] if epochs else []
        parts += [f"warm-up of {steps} steps"] if steps else []
        return ", ".join(parts)


class Rates:
    """The rates of one training's optimiser, before, in and after its steps.

    Attributes:
        lr: the highest rate of a step, 0-dim, on the weights' device.
        each: the rates of the groups, likewise.
        decayed: the sum over all steps of the rate of penalised weights times the factor of λ.
        own: the user's schedulers.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        own: Sequence[OwnScheduler],
        timetable: Timetable,
        hooks: Hooks,
        *,
        owner: str,
        plateau_mode: str,
        device: str,
    ) -> None:
        """``owner`` is what made the optimiser, for errors."""
        self.own, self.timetable = tuple(own), timetable
        self._optimizer, self._hooks, self._owner, self._device = optimizer, hooks, owner, device
        self._groups = _name_groups(optimizer)
        self.initial = self._read_groups()
        self._expected = list(self.initial)
        self._follows = not self.own
        self._held: Sequence[float] | None = None
        self._taken: list[float] = []
        self._epochs_of_own = self._steps_of_own = 0
        self.decayed = 0.0
        self._plateau = _follow_plateau(timetable.training.schedule, plateau_mode)
        optimizer.register_step_pre_hook(self.note_step)
        self._note()

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics of rates that an epoch logs."""
        several = len(self._groups) > 1
        return (LR, *(f"{LR}/{group}" for group in self._groups)) if several else (LR,)

    @property
    def follows(self) -> bool:
        """Whether rates follow the spec's schedule, as far as was seen."""
        return self._follows

    @property
    def monitors(self) -> tuple[str, ...]:
        """The metrics on which rates depend."""
        config = self.timetable.training.schedule
        of_spec = (config.metric,) if self._plateau and isinstance(config, Plateau) else ()
        found = (own.monitor for own in self.own if own.monitor is not None)
        return (*(of_spec if self._follows else ()), *found)

    def begin(self, epoch: int, steps: int) -> None:
        """Set the rates of the next step, before which ``steps`` were taken."""
        now = self._read_groups()
        if self._follows and now != self._expected:
            self._follows = False  # somebody else sets them
        rates = self._held
        if rates is None and self._follows:
            scale = self._scale(epoch, steps)
            rates = [rate * scale for rate in self.initial]
        if rates is not None and rates != now:
            self._write(rates)
        self._note()

    def after_step(self, lambda_factor: float, shares: Mapping[Any, float]) -> None:
        """Note a step that was taken, and step the schedulers that change with every one.

        ``shares`` are those of penalised weights by their groups' positions.
        """
        rates = self._taken or self._noted
        mean = sum(rates[group] * share for group, share in shares.items())
        self.decayed += lambda_factor * mean
        self._steps_of_own += 1
        self._step_own("step", self._steps_of_own, {})

    def after_epoch(self, metrics: Mapping[str, float]) -> None:
        """Step the schedulers that change with every epoch.

        Raises:
            ContractError: a metric that one monitors was not measured, or it fails.
        """
        self._epochs_of_own += 1
        self._step_own("epoch", self._epochs_of_own, metrics)
        config = self.timetable.training.schedule
        if self._plateau is not None and isinstance(config, Plateau):
            self._plateau.step(_find(config.metric, metrics, "training.schedule"))

    def measure(self) -> dict[str, float]:
        """The rates of the last step: ``lr``, and of each group where there are several."""
        rates = self._taken or self._read_groups()
        each = (f"{LR}/{group}" for group in self._groups)
        found = dict(zip(each, rates, strict=True)) if len(rates) > 1 else {}
        return {LR: max(rates), **found}

    def hold(self) -> list[float]:
        """Keep every rate at its highest of a whole run, as far as it is known, for good.

        Returns the mean share of it in each epoch. The user's schedulers do nothing any more.
        """
        if self._follows:
            self._held, shares = self.initial, self.timetable.list_means()
        else:
            self._held, shares = self._average_simulated()
        self._follows = False
        for own in self.own:
            own.scheduler.step = _stand_still
        return shares

    def simulate(self) -> list[list[float]]:
        """The rates of the groups in every step, by the user's schedulers alone.

        Of schedulers of torch that follow no metric; empty if a run is long or its steps are not
        known. Of one that the user's code steps it is a guess when. All states are as before.

        Raises:
            ContractError: a scheduler fails: it may have fewer steps than the training.
        """
        steps, epochs = self.timetable.steps_per_epoch, self.timetable.training.max_epochs
        own = [s for s in self.own if isinstance(s.scheduler, LRScheduler) and s.monitor is None]
        if steps is None or steps * epochs > _MOST_SIMULATED or not own:
            return []
        found = []
        with self._kept(own), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimiser makes no steps
            for number in range(1, steps * epochs + 1):
                found.append(self._read_groups())
                for one in own:
                    often = one.frequency * (steps if one.usual_interval == "epoch" else 1)
                    if number % often == 0:
                        self._step_guessed(one)
        return found

    def describe(self) -> str:
        """Who sets the rates, in words."""
        rates = " and ".join(f"{rate:g}" for rate in dict.fromkeys(self.initial))
        start = f"{len(self.initial)} groups from {rates}" if len(self.initial) > 1 else rates
        if self.own:
            set_by = "; ".join(own.describe() for own in self.own)
            return f"{start}, set by {set_by}; training.schedule is not used"
        if not self._follows:
            return f"{start}, set by your own code in a step; training.schedule is not used"
        return f"{start}, {self.timetable.describe()}"

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs beside the optimiser's state."""
        plateau = self._plateau
        return {
            "follows": self._follows,
            "expected": self._expected,
            "taken": self._taken,
            "decayed": self.decayed,
            "steps_of_own": self._steps_of_own,
            "epochs_of_own": self._epochs_of_own,
            "own": [own.scheduler.state_dict() for own in self.own],
            "plateau": plateau and [plateau.optimizer.state_dict(), plateau.state_dict()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same training, after the optimiser's was loaded.

        Raises:
            ContractError: a scheduler cannot continue from its state.
        """
        self._follows, self.decayed = bool(state["follows"]), float(state["decayed"])
        self._expected, self._taken = list(state["expected"]), list(state["taken"])
        self._steps_of_own = int(state["steps_of_own"])
        self._epochs_of_own = int(state["epochs_of_own"])
        for own, saved in zip(self.own, state["own"], strict=True):
            name = f"{type(own.scheduler).__name__}.load_state_dict of {self._owner}"
            with blame("trainable", name):
                own.scheduler.load_state_dict(copy.deepcopy(saved))
        if self._plateau is not None:
            optimizer, plateau = state["plateau"]
            self._plateau.optimizer.load_state_dict(optimizer)
            self._plateau.load_state_dict(plateau)
        self._note()

    def _scale(self, epoch: int, steps: int) -> float:
        scale = self.timetable.scale(epoch, steps)
        if self._plateau is not None:
            scale *= self._plateau.optimizer.param_groups[0]["lr"]
        return self._hooks.scale_rate(epoch, scale, self.timetable.training.lr)

    def _write(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._expected = self._read_groups()

    def note_step(self, *_: object) -> None:
        """Note the rates with which the optimiser makes a step, whoever set them."""
        self._note()
        self._taken = self._noted

    def _note(self) -> None:
        rates = self._read_groups()
        if rates != getattr(self, "_noted", None):
            self._noted = rates
            self.each = [torch.full((), rate, device=self._device) for rate in rates]
            self.lr = self.each[rates.index(max(rates))]

    def _read_groups(self) -> list[float]:
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def _step_guessed(self, own: OwnScheduler) -> None:
        try:
            step_scheduler(own, None, self._owner)
        except ContractError:
            if own.interval is not None:
                raise

    def _step_own(self, interval: str, number: int, metrics: Mapping[str, float]) -> None:
        for own in self.own:
            if own.interval != interval or number % own.frequency:
                continue
            metric = None if own.monitor is None else _find(own.monitor, metrics, self._owner)
            step_scheduler(own, metric, self._owner)

    def _average_simulated(self) -> tuple[list[float], list[float]]:
        """The highest rate of each group, and the mean share of it in each epoch."""
        epochs, steps = self.timetable.training.max_epochs, self.timetable.steps_per_epoch or 1
        simulated = self.simulate()
        if not simulated:
            return self._read_groups(), [1.0] * epochs
        peaks = [max(rates) for rates in zip(*simulated, strict=True)]
        shares = [
            sum(r / p if p else 0.0 for r, p in zip(rates, peaks, strict=True)) / len(peaks)
            for rates in simulated
        ]
        return peaks, [sum(shares[n : n + steps]) / steps for n in range(0, len(shares), steps)]

    @contextmanager
    def _kept(self, own: Sequence[OwnScheduler]) -> Iterator[None]:
        """Restore the schedulers, and what they change in the optimiser."""
        states = [copy.deepcopy(one.scheduler.state_dict()) for one in own]
        groups = [
            {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}
            for group in self._optimizer.param_groups
        ]
        try:
            yield
        finally:
            for one, state in zip(own, states, strict=True):
                one.scheduler.load_state_dict(state)
            for group, kept in zip(self._optimizer.param_groups, groups, strict=True):
                group.update(kept)


def _stand_still(*_: object) -> None:
    """In place of a scheduler's step."""


def _find(monitor: str, metrics: Mapping[str, float], owner: str) -> float:
    if monitor not in metrics:
        raise ContractError(
            f"the scheduler of {owner} monitors {monitor!r}; logged: {', '.join(metrics)}"
        )
    return metrics[monitor]


def _follow_plateau(schedule: object, mode: str) -> ReduceLROnPlateau | None:
    """Torch's scheduler on a rate of 1, which is the factor."""
    if not isinstance(schedule, Plateau):
        return None
    factor = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    return ReduceLROnPlateau(
        factor,
        mode=schedule.mode or mode,  # type: ignore[arg-type]  # a Literal, from the trainable
        factor=schedule.factor,
        patience=schedule.patience,
        threshold=schedule.threshold,
        cooldown=schedule.cooldown,
        min_lr=schedule.min_factor,
    )


def _name_groups(optimizer: torch.optim.Optimizer) -> list[str]:
    """The groups' names, where all have different ones that a metric can have, or numbers."""
    names = [group.get("name") for group in optimizer.param_groups]
    good = [n for n in names if isinstance(n, str) and n.strip() and n.isprintable()]
    plain = [n for n in good if "/" not in n]
    distinct = len(set(plain)) == len(names)
    return plain if distinct else [str(n) for n in range(len(names))]
