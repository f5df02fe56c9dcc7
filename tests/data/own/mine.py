"""A component of each kind, as users write them."""

import math

import optuna
import torch
from gapsweep import Penalty, Regulariser, Verdict


class Huber(Penalty):
    """Quadratic near 0, linear beyond 1: a penalty that spares large weights."""

    def value(self, weight):
        return torch.nn.functional.huber_loss(weight, torch.zeros_like(weight), reduction="sum")


def jitter(strength):
    """An augmentation of tables: every feature is scaled a little."""
    return lambda x: x * (1 + 0.2 * strength * torch.randn_like(x))


class Clip(Regulariser):
    """Bounds every weight."""

    def __init__(self, bound: float = 1.0):
        self.bound = bound

    def after_step(self, now):
        for w in self.subject.weights:
            w.weight.data.clamp_(-self.bound, self.bound)


class Sampler(optuna.samplers.RandomSampler):
    """Draws dropout rates below a bound."""

    def __init__(self, most: float, seed: int):
        super().__init__(seed)
        self.most = most

    def sample_independent(self, study, trial, name, distribution):
        value = super().sample_independent(study, trial, name, distribution)
        return min(value, self.most) if name == "dropout" else value


class Pruner(optuna.pruners.BasePruner):
    """Ends every search trial after some epochs."""

    def __init__(self, after: int):
        self.after = after

    def prune(self, study, trial):
        return len(trial.intermediate_values) >= self.after


class SignSgd(torch.optim.Optimizer):
    """Steps by the gradient's sign."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * p.grad.sign())


def half_life(epoch, max_epochs, epochs: float = 2.0):
    return math.pow(0.5, epoch / epochs)


class AfterTwo:
    """Stops in the second epoch."""

    def update(self, epoch, value, gap=None):
        return Verdict.STOP if epoch >= 2 else Verdict.IMPROVED

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def splits(rows: int):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 5, generator=generator)
    y = (x[:, 0] > 0).long()
    half = rows // 2
    return {"train": (x[:half], y[:half]), "val": (x[half:], y[half:])}
