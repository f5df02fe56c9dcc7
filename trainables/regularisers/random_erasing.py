"""Random erasing: boxes of images set to 0."""

from __future__ import annotations

from trainables.config import regularisers as config
from trainables.regularisers.base import Need
from trainables.regularisers.input_changes import AtStrength
from trainables.regularisers.input_regulariser import InputRegulariser
from trainables.regularisers.pixels import Erasing


class RandomErasing(InputRegulariser):
    """Erases a box of 2 to 33 % of an image with a given probability. Zhong et al. 2020."""

    order = 20
    needs = frozenset({Need.IMAGES})

    def __init__(self, config: config.RandomErasing) -> None:
        self.acts_on = config.random_erasing_on
        self.change_all(AtStrength(Erasing(), config.random_erasing))
