"""A package as OptunaHub has them."""

import optuna


class HaltonSampler(optuna.samplers.QMCSampler):
    """A Halton sequence."""

    def __init__(self, *, seed=None, scramble=False):
        super().__init__(qmc_type="halton", seed=seed, scramble=scramble)


__all__ = ["HaltonSampler"]
