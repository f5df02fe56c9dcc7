"""What regularisers share that change the inputs of every batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trainables.data.batch import Batch
from trainables.regularisers.base import Regulariser
from trainables.regularisers.input_changes import Augment
from trainables.regularisers.input_parts import change_parts


class InputRegulariser(Regulariser):
    """Changes the inputs of every batch.

    Attributes:
        changes: for each of the parts ``acts_on`` (the empty name, where it acts on all) a function
            of a batch of that part; those of gapsweep, but for the policies, are ``AtStrength``.
    """

    changes: Mapping[str, Augment]

    def change_all(self, change: Augment) -> None:
        """Change every part in the same way."""
        self.changes = dict.fromkeys(self.acts_on or ("",), change)

    def on_batch(self, batch: Batch) -> Batch:
        """The batch with its inputs changed."""
        x = change_parts(batch.x, self.acts_on, lambda part, x: self.changes[part](x))
        return replace(batch, x=x)
