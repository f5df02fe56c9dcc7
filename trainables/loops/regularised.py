"""Our regularisers around a network and an optimiser that a user's own loop trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from search_spaces.unknown_names import join_names
from trainables.build import Regularisers, explain_config_misfit, name_key, name_part
from trainables.compat import seed_torch, takes_step, unscale_fused
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import Nest
from trainables.data.no_rows import NoSplits
from trainables.data.splits import Splits
from trainables.distributed.process import Process, derive_seed
from trainables.errors import ContractError, blame
from trainables.forward import call_network, read_outputs
from trainables.functions import find_device
from trainables.norm_statistics import find_norms, recompute_statistics
from trainables.optimizers import list_decays, switch_off_decay
from trainables.regularisers.base import Hooks, Now, Regulariser, Subject
from trainables.regularisers.dropout import adopt_dropout
from trainables.regularisers.misfit_checks import Offer
from trainables.regularisers.weights import (
    Penalised,
    explain_derived,
    find_last_layer,
    select_penalised,
)

if TYPE_CHECKING:
    from trainables.data.placing import Placed

_NOISE, _NORMS = 2**20, 2**22  # larger than any epoch
_NORM_BATCHES = 100
"""Batches from which statistics of batch norms are computed, at most."""


class Regularised:
    """A network and its optimiser with the trial's regularisers; made by ``trial.regularise``.

    Dropout rates are set in the network, and penalties act whenever ``optimizer.step`` is called.
    What changes batches (augmentation, mixing, noise, label smoothing) acts through :meth:`batch`
    and :meth:`loss`.

    Attributes:
        model: the network.
        optimizer: its optimiser.
        decays: the weight decay that the optimiser has by itself, in words.
        untrained: why no penalty can act through the optimiser; None if it can.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        configs: Regularisers,
        training: Training,
        trainable: Trainable,
        splits: Splits,
        data: Placed,
        *,
        baseline: bool,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self._training, self._trainable = training, trainable
        self._data = None if isinstance(splits, NoSplits) else data
        built = sorted(((c.build(), c) for c in configs), key=lambda pair: pair[0].order)
        if adopt_dropout(model) is not model:
            raise ContractError("trial.regularise: the network is nothing but a dropout layer")
        has_data = not isinstance(splits, NoSplits)
        pair = data.train.head(2)
        for regulariser, config in built:
            with blame("", name_key(config)):
                offer = Offer(splits.info, *pair, model)
                misfit = (
                    explain_config_misfit(regulariser, config, offer)
                    if has_data
                    else _explain_lack(regulariser, splits, model)
                )
                if misfit:
                    raise ContractError(f"{name_key(config)}: {misfit}")
                if regulariser.on_model(model) is not model:
                    raise ContractError(
                        f"{name_key(config)} wraps the network, which a loop of your own does not "
                        "train; change it in place"
                    )
        self.weights: Sequence[Penalised] = select_penalised(
            model, training.penalised, _find_last_layer(model, pair[0]) if has_data else None
        )
        self.untrained = _explain_untrained(self.weights, optimizer)
        unfit = explain_derived(self.weights) or self.untrained
        for regulariser, config in built:
            if regulariser.acts_on_weights and unfit:
                raise ContractError(f"{name_key(config)}: {unfit}")
        self.decays = list_decays(optimizer)
        if baseline:
            switch_off_decay(optimizer)
        self.hooks = Hooks([made for made, _ in built], [name_part(c) for _, c in built])
        self.hooks.attach(Subject(splits.info, model, self.weights, optimizer, training))
        self.epoch, self.steps = 1, 0
        self._now: Now | None = None
        optimizer.register_step_pre_hook(self._before_step)
        optimizer.register_step_post_hook(self._after_step)

    def batch(self, x: Nest, y: Nest) -> Batch:
        """The regularised batch: train on its ``x``, and on the loss of :meth:`loss`.

        ``y`` are the targets; where samples are mixed, ``other_y`` and ``share`` say with which.
        """
        self._begin_epoch()
        return self.hooks.on_batch(x, y)

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """The loss of a regularised batch, with its mixed targets and label smoothing.

        It is that of ``training.loss``, or of the task, without penalty.
        """
        return self._trainable.combine_losses(read_outputs(outputs), batch)

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate: the average of the weights as soon as there is one."""
        return self.hooks.evaluated(self.model)

    @torch.no_grad()
    def refresh_norms(self) -> None:
        """Compute the statistics of batch norms anew where the network to evaluate is an average.

        They are those of training batches of the data, regularised as those of steps.

        Raises:
            ContractError: there are no data, or the network is not called with its batches.
        """
        network = self.evaluated
        if network is self.model or not self.hooks.recomputes_norms or not find_norms(network):
            return
        if self._data is None:
            raise ContractError(
                "averaged weights need other statistics of batch norms, which are computed from "
                "training samples; name `data` in the spec",
                "data",
            )
        recompute_statistics(network, self._pass_batches(network, self._data))

    def _pass_batches(self, network: nn.Module, data: Placed) -> Iterator[object]:
        seed, training = derive_seed(self._training.seed, _NORMS), self._training
        seed_torch(seed)
        plan = data.train.plan(training.batch_size, drop_last=training.drop_last)
        for fed in islice(data.train.feed(plan, Process(), seed), _NORM_BATCHES):
            batch = self.hooks.on_batch(fed.x, fed.y)
            with blame("trainable", "the averaged network, on a batch of the data,"):
                yield call_network(network, batch.x)

    def end_epoch(self) -> None:
        """Call what follows the last step of an epoch, if any step was taken."""
        if self._now is not None:
            for hook in self.hooks.after_epoch:
                hook(self.epoch)
            self._now = None

    def _begin_epoch(self) -> Now:
        if self._now is None:
            device, training = find_device(list(self.model.parameters())), self._training
            noise = torch.Generator(device)
            noise.manual_seed(derive_seed(training.seed, self.epoch, _NOISE))
            rates = self._read_rates(device)
            factor = training.lambda_factor(self.epoch)
            self._now = Now(max(rates), factor, noise, step=self.steps, rates=rates)
            for hook in self.hooks.before_epoch:
                hook(self._now)
        return self._now

    def _read_rates(self, device: torch.device) -> list[Tensor]:
        groups = self.optimizer.param_groups
        return [torch.full((), float(group["lr"]), device=device) for group in groups]

    def _before_step(
        self, _optimizer: torch.optim.Optimizer, arguments: Any, named: Any
    ) -> tuple[Any, Any] | None:
        """Act after the gradients are computed: within a closure, if the step has one."""
        itself, *rest = arguments  # torch gives the optimiser once more
        closure = named.get("closure") or (rest[0] if rest else None)
        if not callable(closure):
            self._act()
            return None

        def compute() -> Any:
            made = closure()
            self._act()
            return made

        others = {name: value for name, value in named.items() if name != "closure"}
        return (itself, compute, *rest[1:]), others

    def _act(self) -> None:
        if not takes_step(self.optimizer):
            return
        unscale_fused(self.optimizer)
        now = self._begin_epoch()
        now.rates = self._read_rates(now.lr.device)
        now.lr = max(now.rates)
        now.gradient_scale = torch.ones_like(now.lr)
        for hook in self.hooks.before_step:
            hook(now)

    def _after_step(self, *_: Any) -> None:
        if not takes_step(self.optimizer):
            return
        assert self._now is not None
        for hook in self.hooks.after_step:
            hook(self._now)
        self._now.step += 1
        self.steps = self._now.step

    def state_dict(self) -> dict[str, Any]:
        """The states of the regularisers, for a checkpoint."""
        return {"hooks": self.hooks.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        self.hooks.load_state_dict(state["hooks"])
        self.steps = int(state["steps"])


def _explain_untrained(
    weights: Sequence[Penalised], optimizer: torch.optim.Optimizer
) -> str | None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    lacking = [w.name for w in weights if id(w.weight) not in held]
    if not lacking:
        return None
    return (
        f"a penalty acts through one optimizer, and {type(optimizer).__name__} does not train "
        f"{join_names(lacking, ' and ')}; exclude them by training.penalised, or train all by one "
        "optimizer"
    )


def _explain_lack(regulariser: Regulariser, splits: Splits, model: nn.Module) -> str | None:
    """Why a regulariser cannot work where the spec names no data."""
    if regulariser.needs:
        return "it needs to know inputs and targets; name `data` in the spec"
    return regulariser.misfit(splits.info, model)


def _find_last_layer(model: nn.Module, x: Nest) -> str | None:
    """The last layer; None for a network that is not called with the samples of the data."""
    was_training = model.training
    try:
        return find_last_layer(model, x)
    except Exception:  # of users' code, which may take anything
        return None
    finally:
        model.train(was_training)
