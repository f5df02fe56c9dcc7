"""Options for what the users of a service may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.base.errors import InputError

if TYPE_CHECKING:
    from service.server.user_limits import UserLimits

Running = Annotated[
    int, typer.Option("--running", min=1, help="Maximum concurrent sweeps of all users.")
]
QueuedPerUser = Annotated[
    int,
    typer.Option(
        "--queued-per-user",
        min=1,
        envvar="GAPSWEEP_QUEUED_PER_USER",
        help="Maximum sweeps in the queue per user.",
    ),
]
StreamsPerUser = Annotated[
    int,
    typer.Option(
        "--streams-per-user",
        min=1,
        envvar="GAPSWEEP_STREAMS_PER_USER",
        help="Maximum open streams of events per user.",
    ),
]
StoredPerUser = Annotated[
    float,
    typer.Option(
        "--stored-per-user",
        metavar="GIB",
        envvar="GAPSWEEP_STORED_PER_USER",
        help="Maximum GiB of sweeps' folders and uploaded code per user.",
    ),
]
RunningPerUser = Annotated[
    int | None,
    typer.Option(
        "--running-per-user",
        min=1,
        envvar="GAPSWEEP_RUNNING_PER_USER",
        help="Maximum concurrent sweeps per user (default: one less than --running, at least 2).",
    ),
]
GpusPerUser = Annotated[
    float | None, typer.Option("--gpus-per-user", min=0, help="Maximum GPUs in use per user.")
]
GpusOf = Annotated[
    list[str] | None,
    typer.Option("--gpus-of", metavar="NAME=N", help="Maximum GPUs in use by one user."),
]


def build_user_limits(running: int, queued: int, streams: int, stored: float) -> UserLimits:
    """The limits of a user; ``stored`` is in GiB.

    Raises:
        InputError: a size is invalid.
    """
    from service.server.user_limits import UserLimits, parse_gib

    return UserLimits(
        running=running, queued=queued, streams=streams, stored_bytes=parse_gib(stored)
    )


def parse_gpus_of(text: str) -> tuple[str, float]:
    """A user's name and number of GPUs.

    Raises:
        InputError: the text is not ``NAME=NUMBER``.
    """
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise InputError(f"--gpus-of: invalid value {text!r}; write it as NAME=NUMBER") from None
