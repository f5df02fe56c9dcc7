"""A ``LightningModule`` as what a sweep trains: its ``Trainer.fit`` is the loop of each trial."""

from __future__ import annotations

import importlib
import inspect
import logging
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from search_spaces.models import list_changed
from trainables.compat import seed_torch
from trainables.config.construct import check_options
from trainables.config.lightning import derives_from, is_of_lightning
from trainables.devices import set_precision
from trainables.errors import ContractError
from trainables.loops.lightning.batches import Batches, overrides
from trainables.loops.lightning.callback import MONITORED, LightningCallback
from trainables.loops.lightning.validation import STEP
from trainables.loops.signature import OwnLoop

if TYPE_CHECKING:
    from trainables.config.training import Training
    from trainables.loops.trial import Trial

_FROM_DATA = ("input_shape", "outputs")
_NEEDED = {
    "training_step": "it computes the loss of a batch",
    STEP: "both sides of the gap are measured by it",
    "configure_optimizers": "it makes the optimizer",
}
_PRECISIONS = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_FABRICS = {"lightning.pytorch": "lightning.fabric", "pytorch_lightning": "lightning_fabric"}
_LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric", "pytorch_lightning")
_OF_THE_MODULE = {
    "optimizer": "configure_optimizers",
    "lr": "configure_optimizers",
    "momentum": "configure_optimizers",
    "schedule": "configure_optimizers",
    "warmup_epochs": "configure_optimizers",
    "warmup_steps": "configure_optimizers",
    "swa_lr_share": "configure_optimizers",
    "swa_cycle": "configure_optimizers",
    "loss": "training_step and validation_step",
    "metrics": "validation_step",
}
_OF_TARGETS = ("mixup", "cutmix", "label_smoothing")
_IDLE = ("compile", "measure_every", "scale_lr")


@dataclass(frozen=True)
class ModuleLoop(OwnLoop):
    """The fit of a class of modules; its arguments are those of the class."""

    def select_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All of them; they were checked when the class was found."""
        return dict(arguments)

    def call(self, trial: Trial, arguments: Mapping[str, Any]) -> object:
        """Fit a new module, an epoch for each report."""
        fit_module(trial, self.function, arguments)
        return None


def find_module_loop(path: str, found: object, arguments: Mapping[str, Any]) -> ModuleLoop | None:
    """The loop of a class of modules; None if it is something else.

    Raises:
        ContractError: the class lacks a method, or does not take an argument.
    """
    if not isinstance(found, type) or not derives_from(found, "LightningModule"):
        return None
    for method, why in _NEEDED.items():
        if not overrides(found, method):
            raise ContractError(f"{path} does not define {method}: {why}", "trainable")
    check_options(path, found, arguments, dict.fromkeys(_FROM_DATA))
    return ModuleLoop(path, found, "")


def fit_module(trial: Trial, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Build a module and fit it on the samples of a trial, which ends it."""
    package = importlib.import_module(find_package(factory))
    _quieten(package)
    training = trial.training
    module = _build(trial, factory, arguments)
    _watch_loss(module)
    set_precision(training.precision)
    train, val = trial.data.loaders()
    with tempfile.TemporaryDirectory(prefix="gapsweep-lightning-") as folder:
        trainer = package.Trainer(
            accelerator="gpu" if trial.device.startswith("cuda") else "cpu",
            devices=1,
            max_epochs=trial.max_epochs,
            precision=_PRECISIONS[training.precision],
            limit_train_batches=training.steps_per_epoch or 1.0,
            gradient_clip_val=training.clip_norm,
            accumulate_grad_batches=training.accumulate,
            callbacks=[LightningCallback(trial)],
            plugins=[_find_environment(package)],
            default_root_dir=folder,
            logger=package.loggers.logger.DummyLogger(),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, Batches(train), Batches(val))


def find_package(factory: Callable[..., Any]) -> str:
    """The package whose ``LightningModule`` a class derives from."""
    homes = (base.__module__ for base in getattr(factory, "__mro__", ()))
    top = next(home.partition(".")[0] for home in homes if is_of_lightning(home))
    return "lightning.pytorch" if top == "lightning" else top


def find_idle_keys(
    path: str, training: Training, space: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The keys of a spec that cannot act on a module, each with why and what would act."""
    for key, method in _OF_THE_MODULE.items():
        text = (
            f"{path} decides it itself, in {method}, so this key does not act; leave it out, or "
            "make it an argument of the class: `model: {NAME: …}`, `model.NAME` in the space"
        )
        yield from _find_key(key, text, training, space)
    for key in _IDLE:
        text = "a Trainer of Lightning fits the module, so this key does not act; leave it out"
        yield from _find_key(key, text, training, space)
    for name in space:
        if name in _OF_TARGETS:
            yield (
                f"space.{name}",
                f"training_step of {path} takes no mixed or smoothed targets; leave it out",
            )


def _find_key(
    key: str, text: str, training: Training, space: Collection[str]
) -> Iterator[tuple[str, str]]:
    if key in list_changed(training):
        yield f"training.{key}", text
    if key in space:
        yield f"space.{key}", text


def _build(trial: Trial, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """A module; its weights are drawn by ``training.weight_init_seed`` if there is one."""
    known = {k: v for k, v in asdict(trial.data.info).items() if k in _FROM_DATA}
    wanted = {k: v for k, v in known.items() if k in inspect.signature(factory).parameters}
    seed = trial.training.weight_init_seed
    if seed is not None:
        seed_torch(seed)
    return factory(**{**wanted, **arguments})


def _find_environment(package: Any) -> Any:
    """One process, whatever a scheduler of jobs says that is found in the environment."""
    fabric = _FABRICS[package.__name__]
    return importlib.import_module(f"{fabric}.plugins.environments").LightningEnvironment()


def _watch_loss(module: Any) -> None:
    """Let a plateau schedule that names no metric watch the loss of the validation."""
    original = module.configure_optimizers

    @wraps(original)
    def configure() -> Any:
        made = original()
        if isinstance(made, Mapping):
            return _add_monitor(made)
        if not isinstance(made, list | tuple):
            return made
        return type(made)(
            [_add_monitor(inner) for inner in one] if isinstance(one, list) else _add_monitor(one)
            for one in made
        )

    object.__setattr__(module, "configure_optimizers", configure)


def _add_monitor(config: Any) -> Any:
    """A schedule, or a mapping with one as Lightning takes it, that has a metric to watch."""
    if isinstance(config, ReduceLROnPlateau):
        return {"scheduler": config, "monitor": MONITORED}
    if not isinstance(config, Mapping):
        return config
    if "lr_scheduler" in config and "monitor" not in config:
        return {**config, "lr_scheduler": _add_monitor(config["lr_scheduler"])}
    watches = isinstance(config.get("scheduler"), ReduceLROnPlateau)
    return {"monitor": MONITORED, **config} if watches else config


def _quieten(package: Any) -> None:
    """Leave out what Lightning tells of devices and loaders, once for each trial."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    category = package.utilities.warnings.PossibleUserWarning
    warnings.filterwarnings("ignore", category=category)
    warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)  # of torch
