"""Commands that run the service, and look after its users and its database."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from service.base.errors import InputError
from service.cli.app import SERVICE, HomeOption, app
from service.server.store.roles import RoleOfUser

if TYPE_CHECKING:
    from service.server.serve import ServerSettings
    from service.server.store.users import Users
    from service.sweep.home import Home

users = typer.Typer(
    help="The service's users and their tokens.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(users, name="users", rich_help_panel=SERVICE)

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        envvar="GAPSWEEP_DATABASE_URL",
        help="PostgreSQL's or SQLite's; else service.db in the home folder.",
    ),
]
Running = Annotated[
    int, typer.Option("--running", min=1, help="Sweeps on the cluster at once, of all users.")
]
RunningPerUser = Annotated[
    int | None, typer.Option("--running-per-user", min=1, help="Of each user.")
]
GpusPerUser = Annotated[
    float | None, typer.Option("--gpus-per-user", min=0, help="GPUs that a user may hold at once.")
]
GpusOf = Annotated[
    list[str] | None,
    typer.Option("--gpus-of", metavar="NAME=N", help="Another number of GPUs for one user."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PATTERN",
        help="Import paths that specs may name, e.g. 'trainables.*'; then no code is taken.",
    ),
]
Webhook = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook",
        metavar="URL",
        help="Called when a state changes, signed with GAPSWEEP_WEBHOOK_SECRET.",
    ),
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, help="How often a sweep outlives its driver's death.")
]
Rate = Annotated[str, typer.Option("--rate", help="Requests that a user may make.")]
Submissions = Annotated[
    str, typer.Option("--submissions", help="Sweeps and code that a user may hand in.")
]


@app.command(rich_help_panel=SERVICE)
def up(
    home: HomeOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The API's.")] = 8080,
    mlflow_port: Annotated[int, typer.Option("--mlflow-port", min=1, max=65535)] = 5000,
    ray_port: Annotated[
        int, typer.Option("--ray-port", min=1, max=65535, help="Ray's dashboard's.")
    ] = 8265,
    cpus: Annotated[
        int | None, typer.Option("--cpus", min=1, help="Logical ones; else what there are.")
    ] = None,
    running: Running = 4,
) -> None:
    """Start the whole service on this machine: API, MLflow UI and a Ray. Ctrl-C ends it."""
    from service.cli.local_stack import Ports, started
    from service.server.serve import serve

    console = Console(highlight=False)
    ports = Ports(port, mlflow_port, ray_port)
    settings = _settings(_home(home), None, "", running=running)
    with started(settings, ports, cpus, console.print) as (found, token):
        console.print(f"API     http://{found.host}:{found.port}", soft_wrap=True)
        console.print(f"MLflow  {found.mlflow_uri}", soft_wrap=True)
        console.print(f"Ray     {found.ray_address}", soft_wrap=True)
        console.print("\nIn another terminal:", soft_wrap=True)
        console.print(f"  export GAPSWEEP_SERVER=http://{found.host}:{found.port}", soft_wrap=True)
        console.print(f"  export GAPSWEEP_TOKEN={token}", soft_wrap=True, markup=False)
        console.print("  gapsweep submit SPEC.yaml --watch\n", soft_wrap=True)
        serve(found)


@app.command(rich_help_panel=SERVICE)
def serve(
    ray_address: Annotated[
        str,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            envvar="RAY_ADDRESS",
            help="The cluster's: its dashboard as http://head:8265, or `auto`.",
        ),
    ],
    database_url: DatabaseUrl = None,
    mlflow_url: Annotated[
        str | None,
        typer.Option(
            "--mlflow-url",
            metavar="URL",
            envvar="GAPSWEEP_MLFLOW_URI",
            help="Where sweeps are logged; else the home folder; `off`: nowhere.",
        ),
    ] = None,
    home: HomeOption = None,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    running: Running = 4,
    running_per_user: RunningPerUser = None,
    gpus_per_user: GpusPerUser = None,
    gpus_of: GpusOf = None,
    retries: Retries = 3,
    allow: Allow = None,
    webhook: Webhook = None,
    rate: Rate = "1200/minute",
    submissions: Submissions = "120/minute",
    python: Annotated[
        str, typer.Option("--python", help="The interpreter that has gapsweep on the cluster.")
    ] = "python",
) -> None:
    """Run the service in front of a Ray cluster that is there already."""
    from service.server.api.rate_limits import RateSettings
    from service.server.queue import Limits
    from service.server.serve import serve as serve_now

    limits = Limits(
        running=running,
        running_per_user=running_per_user,
        gpus_per_user=gpus_per_user,
        gpus_of=dict(map(_gpus_of, gpus_of or [])),
    )
    settings = _settings(_home(home), database_url, ray_address, allow=tuple(allow or ()))
    serve_now(
        replace(
            settings,
            mlflow_uri=mlflow_url,
            host=host,
            port=port,
            limits=limits,
            retries=retries,
            rates=RateSettings(requests=rate, submissions=submissions),
            python=python,
            webhooks=tuple(webhook or ()),
            webhook_secret=os.environ.get("GAPSWEEP_WEBHOOK_SECRET"),
        )
    )


@app.command(rich_help_panel=SERVICE)
def migrate(database_url: DatabaseUrl = None, home: HomeOption = None) -> None:
    """Make the tables of the service's database, or bring them up to date."""
    from service.server.store.database import Database

    Database(_database_url(_home(home), database_url)).upgrade()
    print("the database is up to date")


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: Annotated[RoleOfUser, typer.Option("--role", help="What the user may do.")],
    days: Annotated[
        float | None,
        typer.Option("--days", min=0, help="After which the token expires; never if none."),
    ] = None,
    database_url: DatabaseUrl = None,
    home: HomeOption = None,
) -> None:
    """Make a user and print a token, which is shown this once. For a known user: one token more."""
    expires = None if days is None else time.time() + 86_400 * days
    print(_users(home, database_url).admit(name, role, expires))


@users.command("revoke")
def revoke_user(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    database_url: DatabaseUrl = None,
    home: HomeOption = None,
) -> None:
    """Take every right from a user. What the user submitted stays and runs on."""
    _users(home, database_url).revoke(name)
    print(f"{name} may do nothing any more")


@users.command("list")
def list_users(database_url: DatabaseUrl = None, home: HomeOption = None) -> None:
    """List the users."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("user", "role", "since", "revoked"):
        table.add_column(title, overflow="fold")
    for user in _users(home, database_url).all():
        revoked = "" if user.revoked is None else _day(user.revoked)
        table.add_row(user.name, str(user.role), _day(user.created), revoked)
    if table.row_count:
        Console(highlight=False).print(table)
    else:
        print("no users yet; gapsweep users add NAME --role admin makes the first")


def _settings(
    home: Home,
    database_url: str | None,
    ray_address: str,
    *,
    running: int = 4,
    allow: tuple[str, ...] = (),
) -> ServerSettings:
    try:
        from service.server.actions import Settings
        from service.server.queue import Limits
        from service.server.serve import ServerSettings
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    url = _database_url(home, database_url)
    return ServerSettings(
        service=Settings(database_url=url, home=home.path, trainables=allow),
        ray_address=ray_address,
        limits=Limits(running=running),
    )


def _users(home: Path | None, database_url: str | None) -> Users:
    try:
        from service.server.store.database import Database
        from service.server.store.users import Users
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    database = Database(_database_url(_home(home), database_url))
    database.check()
    return Users(database)


def _home(option: Path | None) -> Home:
    from service.sweep.environment import home_at

    return home_at(option).create()


def _database_url(home: Home, named: str | None) -> str:
    return named or f"sqlite:///{home.path / 'service.db'}"


def _missing(error: ModuleNotFoundError) -> InputError:
    return InputError(f"{error.name} is missing; pip install 'gapsweep[server]'")


def _gpus_of(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise InputError(f"--gpus-of {text!r}: write it as NAME=NUMBER") from None


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(when))
