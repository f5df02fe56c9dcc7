"""Which regularisation, how strong, closes the generalisation gap of a model on its data?

>>> import gapsweep
>>> sweep = gapsweep.run("digits.yaml")
>>> sweep.trials.sort_values("value").head()
>>> print(sweep.report())

Everything public is a name of this module, and loaded when it is first used: ``import gapsweep``
itself imports neither torch nor Ray.

- Sweeps: ``run``, ``resume``, ``refit``, ``open_sweep``, ``Sweep``, ``Report``, ``Refit``.
- Specs: ``load_spec``, ``parse_spec``, ``SweepSpec``.
- Loops elsewhere: ``ask_tell``, ``ask``, ``tell``, ``abandon``, with ``AskedSweep``,
  ``AskedTrial`` and ``Signal``.
- A service: ``Client``, ``AsyncClient`` (extra ``client``).
- To subclass: ``Trainable``, ``Regulariser``, ``Penalty``, ``StoppingRule``, ``Splitter``, with
  ``Batch``, ``Now``, ``Verdict``, ``Cases`` and ``Draw``; the components' models
  ``SamplerConfig``, ``PrunerConfig``, ``FoldPrunerConfig``, ``OptimizerConfig``,
  ``ScheduleConfig``, ``StoppingConfig``.
- For a training loop of your own: ``Trial``, ``TrialEnd``, ``LightningCallback``,
  ``HuggingFaceCallback``.
- Registries: ``samplers``, ``pruners``, ``fold_pruners``, ``optimizers``, ``schedules``,
  ``stopping_rules``, ``penalties``, ``augmentations``, ``regularisers``, ``data_sources``,
  ``splitters``, each a ``Registry``.
- Errors: ``GapsweepError``, ``InputError``, ``SpecError``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gapsweep._own_packages import check_own_packages

if TYPE_CHECKING:
    from service.base.errors import GapsweepError as GapsweepError
    from service.base.errors import InputError as InputError
    from service.base.errors import SpecError as SpecError
    from service.client import endpoints as endpoints
    from service.client.client import AsyncClient as AsyncClient
    from service.client.client import Client as Client
    from service.run.ask_tell import abandon as abandon
    from service.run.ask_tell import ask as ask
    from service.run.ask_tell import ask_tell as ask_tell
    from service.run.ask_tell import tell as tell
    from service.run.asked_sweep import AskedSweep as AskedSweep
    from service.run.asked_trial import AskedTrial as AskedTrial
    from service.run.asked_trial import Signal as Signal
    from service.run.python_api import resume as resume
    from service.run.python_api import run as run
    from service.run.sweep import Report as Report
    from service.run.sweep import Sweep as Sweep
    from service.run.sweep import open_sweep as open_sweep
    from service.run.sweep import refit as refit
    from service.spec.file import load_spec as load_spec
    from service.spec.file import parse_spec as parse_spec
    from service.spec.fold_pruners import FoldPrunerConfig as FoldPrunerConfig
    from service.spec.fold_pruners import fold_pruners as fold_pruners
    from service.spec.model import SweepSpec as SweepSpec
    from service.spec.pruners import PrunerConfig as PrunerConfig
    from service.spec.pruners import pruners as pruners
    from service.spec.samplers import SamplerConfig as SamplerConfig
    from service.spec.samplers import samplers as samplers
    from service.sweep.refit_record import Refit as Refit
    from trainables.config.augmentations import augmentations as augmentations
    from trainables.config.data import data_sources as data_sources
    from trainables.config.optimizers import OptimizerConfig as OptimizerConfig
    from trainables.config.optimizers import optimizers as optimizers
    from trainables.config.penalties import penalties as penalties
    from trainables.config.registry import Registry as Registry
    from trainables.config.regularisers import regularisers as regularisers
    from trainables.config.schedules import ScheduleConfig as ScheduleConfig
    from trainables.config.schedules import schedules as schedules
    from trainables.config.splitters import splitters as splitters
    from trainables.config.stopping import StoppingConfig as StoppingConfig
    from trainables.config.stopping import StoppingRule as StoppingRule
    from trainables.config.stopping import Verdict as Verdict
    from trainables.config.stopping import stopping_rules as stopping_rules
    from trainables.contract import Trainable as Trainable
    from trainables.data.batch import Batch as Batch
    from trainables.data.splitters.base import Cases as Cases
    from trainables.data.splitters.base import Draw as Draw
    from trainables.data.splitters.base import Splitter as Splitter
    from trainables.loops.huggingface.callback import HuggingFaceCallback as HuggingFaceCallback
    from trainables.loops.lightning.callback import LightningCallback as LightningCallback
    from trainables.loops.suspended_loop import TrialEnd as TrialEnd
    from trainables.loops.trial import Trial as Trial
    from trainables.regularisers.base import Now as Now
    from trainables.regularisers.base import Regulariser as Regulariser
    from trainables.regularisers.penalties import Penalty as Penalty

_PUBLIC = {
    "service.base.errors": ("GapsweepError", "InputError", "SpecError"),
    "service.client": ("endpoints",),
    "service.client.client": ("AsyncClient", "Client"),
    "service.run.ask_tell": ("abandon", "ask", "ask_tell", "tell"),
    "service.run.asked_sweep": ("AskedSweep",),
    "service.run.asked_trial": ("AskedTrial", "Signal"),
    "service.run.sweep": ("Report", "Sweep", "open_sweep", "refit"),
    "service.run.python_api": ("resume", "run"),
    "service.spec.file": ("load_spec", "parse_spec"),
    "service.spec.model": ("SweepSpec",),
    "service.spec.fold_pruners": ("FoldPrunerConfig", "fold_pruners"),
    "service.spec.pruners": ("PrunerConfig", "pruners"),
    "service.spec.samplers": ("SamplerConfig", "samplers"),
    "service.sweep.refit_record": ("Refit",),
    "trainables.config.augmentations": ("augmentations",),
    "trainables.config.data": ("data_sources",),
    "trainables.config.optimizers": ("OptimizerConfig", "optimizers"),
    "trainables.config.penalties": ("penalties",),
    "trainables.config.registry": ("Registry",),
    "trainables.config.regularisers": ("regularisers",),
    "trainables.config.schedules": ("ScheduleConfig", "schedules"),
    "trainables.config.splitters": ("splitters",),
    "trainables.config.stopping": ("StoppingConfig", "StoppingRule", "Verdict", "stopping_rules"),
    "trainables.contract": ("Trainable",),
    "trainables.data.batch": ("Batch",),
    "trainables.data.splitters.base": ("Cases", "Draw", "Splitter"),
    "trainables.loops.suspended_loop": ("TrialEnd",),
    "trainables.loops.huggingface.callback": ("HuggingFaceCallback",),
    "trainables.loops.lightning.callback": ("LightningCallback",),
    "trainables.loops.trial": ("Trial",),
    "trainables.regularisers.base": ("Now", "Regulariser"),
    "trainables.regularisers.penalties": ("Penalty",),
}
_HOMES = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gapsweep' has no attribute {name!r}")
    check_own_packages()
    home = import_module(_HOMES[name])
    if not hasattr(home, name):  # a module of a package
        return import_module(f"{_HOMES[name]}.{name}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
