"""Reports without plots, for tests that do not look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def no_plots() -> Iterator[None]:
    """Pages have empty plots until the end of the block."""
    from service.report import inspection_plots, plots

    with pytest.MonkeyPatch.context() as patch:
        for module in (plots, inspection_plots):
            patch.setattr(module, "render_svg", lambda *_: "")
        yield
