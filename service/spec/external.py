"""Specs whose trials are trained by loops elsewhere, which ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.base.errors import Problem, SpecError
from trainables.config.imports import EXTERNAL

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


def refuse_external(spec: SweepSpec, source: str) -> None:
    """Check that a spec names what trains its trials. ``source`` names the spec in errors.

    Raises:
        SpecError: it does not: only loops that ask for its trials can train them.
    """
    if spec.trainable == EXTERNAL:
        words = (
            "none is named, so that only a loop of yours can train the trials: it asks for them "
            "with gapsweep.ask_tell(SPEC); to have them trained here, name `module:Name`"
        )
        raise SpecError(source, [Problem("trainable", words)])
