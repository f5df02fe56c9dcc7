"""The networks that come with gapsweep."""

from trainables.models.cnn import CNN
from trainables.models.mlp import MLP

__all__ = ["CNN", "MLP"]
