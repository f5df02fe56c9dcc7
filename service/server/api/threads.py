"""Threads of their own for work that must not wait for other requests, or that takes long.

FastAPI runs plain functions on forty threads that all requests share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

T = TypeVar("T")


class Threads:
    """The limits of one app: few specs are validated at a time, and probes wait for no request."""

    def __init__(self, specs: int = 2, probes: int = 4) -> None:
        self._specs, self._probes = CapacityLimiter(specs), CapacityLimiter(probes)

    async def run_spec(self, work: Callable[[], T]) -> T:
        """Validate a spec, which may take a second of CPU."""
        return await to_thread.run_sync(work, limiter=self._specs)

    async def run_probe(self, work: Callable[[], T]) -> T:
        """Answer a question about the service itself."""
        return await to_thread.run_sync(work, limiter=self._probes)


async def get_threads(request: Request) -> Threads:
    """The app's threads."""
    threads: Threads = request.app.state.threads
    return threads


TheThreads = Annotated[Threads, Depends(get_threads)]
