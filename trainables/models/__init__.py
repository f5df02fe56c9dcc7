"""The built-in networks."""

from trainables.models.cnn import CNN
from trainables.models.mlp import MLP

__all__ = ["CNN", "MLP"]
