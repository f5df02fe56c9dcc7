"""The Typer application, and the options that its commands share.

Exit codes: 0 success, 1 the sweep or the server failed, 2 invalid input, 130 stopped by Ctrl-C.
Commands import what they need when they run, so that `--help` does not wait for torch and Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service.base.errors import InputError
from service.base.plain_text import clean_json, say
from service.base.streams import fit_json

INTERRUPTED = 130
HERE, THERE, SERVICE = "Sweeps on this machine", "Sweeps on a server", "The service"

_ORDER = (
    *("run", "resume", "report", "list", "validate", "devices", "refit", "export", "delete"),
    *("schema", "ui", "studies", "replay"),
    *("submit", "status", "watch", "trials", "logs", "download", "cancel", "pause", "retry"),
    *("extend", "tokens", "audit-log"),
    *("up", "serve", "migrate", "serve-mlflow", "users", "backup", "restore"),
)
"""The commands in the order of the help: what a newcomer needs first."""


class _InOrder(TyperGroup):
    """A group whose help lists commands in :data:`_ORDER`, whichever module came first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in that order."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    cls=_InOrder,
    help="Which regularisation, how strong, closes the generalisation gap of your model?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from service.base.versions import get_installed_version

        say(f"gapsweep {get_installed_version()}")
        raise typer.Exit


@app.callback()
def gapsweep(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Which regularisation, how strong, closes the generalisation gap of your model?"""


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="Spec of the sweep.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. budget.trials=10."),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Data directory (default: $GAPSWEEP_HOME or ./gapsweep-data).",
    ),
]
SweepName = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Sweep id, a prefix of one, or `latest`.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        envvar="RAY_ADDRESS",
        help="Address of a Ray cluster, or `auto` (default: start Ray locally).",
    ),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        help="Go on although data, code or libraries have changed; the report says from when on.",
    ),
]
Widen = Annotated[
    list[str] | None,
    typer.Option(
        "--widen",
        metavar="NAME=LOW:HIGH",
        help="Sample a wider range, e.g. dropout=0:0.9 or 'lambda[penalty=l2]=1e-7:10', or more "
        "choices, e.g. 'augmentation=[noise]'; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only the result, as JSON.")]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", envvar="GAPSWEEP_SERVER", help="Server URL."),
]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar="GAPSWEEP_TOKEN", help="API token."),
]


def print_json(text: str) -> None:
    """Print JSON; characters that the output's encoding lacks are escaped as JSON has them."""
    print(fit_json(clean_json(text), sys.stdout.encoding))


def write_file(path: Path, write: Callable[[], object]) -> None:
    """Call ``write``, which writes the file at ``path``.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        write()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
