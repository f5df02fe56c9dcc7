"""A lane's own state of torch's generators: of the CPU's, and of that of its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class RandomStates:
    """Random numbers that go on from where torch's generators were when they were last noted."""

    def __init__(self, device: str) -> None:
        kinds = dict.fromkeys(("cpu", torch.device(device).type))
        self._generators = {kind: torch.Generator(kind) for kind in kinds}

    def of(self, device: torch.device) -> torch.Generator:
        """The generator of a device, for calls that take one."""
        return self._generators[device.type]

    def note(self) -> None:
        """Go on from where torch's generators are."""
        for kind, own in self._generators.items():
            own.set_state(_find_default(kind).get_state())

    def use(self) -> None:
        """Let torch's generators go on from here."""
        for kind, own in self._generators.items():
            _find_default(kind).set_state(own.get_state())

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw these numbers from torch's generators."""
        self.use()
        yield
        self.note()


def renew_generator() -> None:
    """Let torch's generator of the GPU draw again after a capture that failed, as before it."""
    default, fresh = _find_default("cuda"), torch.Generator("cuda")
    fresh.set_state(default.get_state())
    default.graphsafe_set_state(fresh)


def _find_default(kind: str) -> torch.Generator:
    if kind == "cpu":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device()]
