"""What goes wrong with data, trainables and trainings, in words for the user.

TrainableError
├── DataError        data that cannot be trained on
├── ContractError    a class or function that lacks what the contract needs
└── DivergedError    a loss that is no longer a number
"""

from __future__ import annotations


class TrainableError(Exception):
    """Root of everything `trainables` raises on purpose."""


class DataError(TrainableError):
    """The data cannot be trained on as it is."""


class ContractError(TrainableError):
    """The user's class or function lacks what the contract needs."""


class DivergedError(TrainableError):
    """A loss turned NaN or infinite."""
