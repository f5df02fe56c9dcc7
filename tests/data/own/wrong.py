"""Components that do not work."""

from gapsweep import Penalty, Regulariser, Trainable


def three():
    return 3


def word(epoch, max_epochs):
    return "high"


def fails():
    raise LookupError("no such thing")


class Misfit(Regulariser):
    def misfit(self, info, model):
        fails()


class Attach(Regulariser):
    def attach(self, subject):
        fails()


class Step(Regulariser):
    def after_step(self, now):
        fails()


class Bound(Regulariser):
    def __init__(self, bound):
        self.bound = bound


class Unwritten(Penalty):
    """Defines no value."""


class Construct(Trainable):
    def __init__(self):
        fails()

    def build(self, info):
        fails()
