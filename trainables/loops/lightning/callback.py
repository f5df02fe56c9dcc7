"""The callback that makes a ``Trainer.fit`` of Lightning the epochs of a trial."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainables.config.lightning import INSTALL
from trainables.distributed.process import derive_seed
from trainables.errors import ContractError
from trainables.loops.lightning.batches import find_owner, join_batch, overrides, part_batch
from trainables.loops.lightning.samples import Sides, find_sides
from trainables.loops.lightning.state import FitState
from trainables.loops.lightning.validation import STEP, Validation, name_metric
from trainables.loops.settings import seed_all
from trainables.loops.suspended_loop import TrialEnd
from trainables.optimizers import list_decays, switch_off_decay

if TYPE_CHECKING:
    from trainables.loops.regularised import Regularised
    from trainables.loops.trial import Trial

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
MONITORED = "val_loss"
"""The metric that a plateau schedule watches if it names none."""
_CHANGED = "on_after_batch_transfer"


class LightningCallback:
    """Reports each epoch of a ``Trainer.fit`` to a trial, and stops the trainer when it ends.

    After an epoch with a validation, both sides of the gap are measured by the module's
    ``validation_step``. The trial's penalties and dropout are applied to the module, its
    augmentation to batches that are tuples of inputs and target. What is logged for training is
    reported beside it. A trial that was interrupted goes on after its last epoch: the random
    numbers of each epoch are seeded by the trial's seed and the epoch's number.

    It is a callback of the package, ``lightning`` or ``pytorch_lightning``, that is imported.

    Raises:
        ImportError: none of them is.
    """

    def __new__(cls, *_: object, **__: object) -> LightningCallback:
        """An instance that is a callback of each package that is imported."""
        found = tuple(p for p in _PACKAGES if p in sys.modules)
        if not found:
            raise ImportError(f"LightningCallback needs Lightning: {INSTALL}, and import it")
        return object.__new__(_derive(cls, found))

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._regularised: Regularised | None = None
        self._validation = Validation(self._find_evaluated)
        self._module: Any = None
        self._changed: Any = None
        self._handler: Any = None
        self._sides: Sides | None = None
        self._validated = self._ended = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Prepare a fit: an epoch ends by a report, and signals stay the sweep's."""
        if stage != "fit":
            return
        self._module = pl_module
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.getsignal(signal.SIGINT)
        trainer._signal_connector.register_signal_handlers = _keep_signals
        loop, finish = trainer.fit_loop, trainer.fit_loop.on_advance_end

        def end_epoch() -> None:
            finish()  # hooks and schedulers first, so that the state is that after the epoch
            self._end_epoch(trainer)

        loop.on_advance_end = end_epoch

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Apply the trial's regularisers, and continue where an interrupted trial was."""
        self._regularise(trainer, pl_module)
        state = FitState(trainer, pl_module, self)
        if self._trial.restore():
            self._trial.restore(lightning=state)
        self._trial.checkpoint(lightning=state)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Seed the random numbers of the epoch."""
        seed_all(derive_seed(self._trial.seed, trainer.current_epoch + 1))
        self._validated = False

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note that the epoch has a validation, and tell schedules by which name its loss is."""
        self._validated = self._validated or not trainer.sanity_checking
        logged = trainer.callback_metrics
        for config in trainer.lr_scheduler_configs:
            if config.monitor == MONITORED and MONITORED not in logged:
                named = [name for name in logged if _is_loss_of_validation(name)]
                config.monitor = next(iter(named), MONITORED)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Let Ctrl-C end the sweep, which Lightning would turn into an exit of the process."""
        self._let_go()
        if isinstance(exception, KeyboardInterrupt):
            if self._handler is not None:
                signal.signal(signal.SIGINT, self._handler)
            raise exception

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let go of the module."""
        self._let_go()

    def _let_go(self) -> None:
        if self._changed is not None:
            self._changed.__dict__.pop(_CHANGED, None)

    def _find_evaluated(self) -> Any:
        """The module to measure: an average of the weights, if the trial has one."""
        if self._regularised is None:
            return self._module
        found: Any = self._regularised.evaluated
        if found is not self._module:
            found._trainer = self._module._trainer
        return found

    def _regularise(self, trainer: Any, module: Any) -> None:
        optimizers = [one for one in trainer.optimizers if one.param_groups]
        if not optimizers:
            raise ContractError(
                f"{type(module).__name__}.configure_optimizers returns no optimizer", "trainable"
            )
        self._regularised = regularised = self._trial.regularise(module, optimizers[0])
        for optimizer in optimizers[1:]:
            regularised.decays += list_decays(optimizer)
            if self._trial.is_baseline:
                switch_off_decay(optimizer)
        self._changed = find_owner(module, _CHANGED)
        original = getattr(self._changed, _CHANGED)

        def change(batch: Any, dataloader_idx: int) -> Any:
            batch = original(batch, dataloader_idx)
            return self._change(batch) if trainer.training else batch

        object.__setattr__(self._changed, _CHANGED, change)

    def _change(self, batch: Any) -> Any:
        """The regularised batch of a training step."""
        parts = part_batch(batch)
        if parts is None or self._regularised is None:
            return batch
        made = self._regularised.batch(*parts)
        if made.other_y is not None or made.smoothing:
            raise ContractError(
                f"{type(self._module).__name__}.training_step takes no mixed or smoothed targets: "
                "leave mixup, cutmix and label_smoothing out of the space",
                "trainable",
            )
        return join_batch(made.x, made.y)

    def _end_epoch(self, trainer: Any) -> None:
        """Report the epoch; stop the trainer where the trial ends."""
        if self._ended or not (self._validated or not trainer.enable_validation):
            return
        try:
            if overrides(self._module, STEP):
                if self._sides is None:
                    self._sides = find_sides(trainer, self._trial.seed)
                self._validation.form = self._sides.form
                evaluated = self._find_evaluated()
                self._trial.evaluate(evaluated, self._validation, **self._sides.given)
                self._trial.report(_select(trainer.callback_metrics, measured=True))
            else:
                self._trial.report(_select(trainer.callback_metrics, measured=False))
        except TrialEnd:
            self._ended = trainer.should_stop = True


def _is_loss_of_validation(name: str) -> bool:
    return name.startswith("val") and name_metric(name) == "loss"


def _select(logged: Mapping[str, Any], *, measured: bool) -> dict[str, float]:
    """What a module logged, by names of sides; ``measured``: its validation is measured anew."""
    found: dict[str, float] = {}
    for name, value in logged.items():
        side, parted, rest = _part(name)
        if side == "train" and not name.endswith("_step"):
            found[f"train/{name_metric(rest.removesuffix('_epoch'))}"] = float(value)
        elif parted and not measured:
            found[f"val/{name_metric(name)}"] = float(value)
    return found


def _part(name: str) -> tuple[str, bool, str]:
    """The side of a logged name, whether it has one of the validation, and the rest."""
    for prefix in ("train_", "train/", "training_"):
        if name.startswith(prefix):
            return "train", False, name.removeprefix(prefix)
    return "", name.startswith("val"), name


def _keep_signals() -> None:
    """Leave signals to the process that trains."""


def _derive(cls: type[LightningCallback], packages: Iterable[str]) -> type[LightningCallback]:
    """The class as a subclass of the callbacks of some packages."""
    bases = (cls, *(sys.modules[package].Callback for package in packages))
    return type(cls.__name__, bases, {"__module__": cls.__module__, "__doc__": cls.__doc__})
