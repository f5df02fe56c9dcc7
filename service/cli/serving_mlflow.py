"""The command that runs the MLflow server of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.base.errors import InputError
from service.cli.app import SERVICE, HomeOption, app


@app.command("serve-mlflow", rich_help_panel=SERVICE)
def serve_mlflow(
    api: Annotated[
        str,
        typer.Option(
            "--api",
            metavar="URL",
            envvar="GAPSWEEP_SERVER",
            help="The service's API, which checks the tokens of requests.",
        ),
    ],
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            envvar="MLFLOW_BACKEND_STORE_URI",
            help="MLflow's database (default: mlflow.db in the data directory).",
        ),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            "--artifacts",
            metavar="DIR",
            help="Folder of all artifacts (default: artifacts in the data directory).",
        ),
    ] = None,
    home: HomeOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 5000,
    allowed_hosts: Annotated[
        str,
        typer.Option(
            "--allowed-hosts",
            metavar="HOSTS",
            help="Names that it may be asked by, e.g. 'mlflow.example.org' (default: local ones).",
        ),
    ] = "",
) -> None:
    """Run an MLflow server that takes the service's tokens and keeps artifacts in one folder."""
    from service.base.ports import check_port
    from service.base.private_files import keep_private
    from service.sweep.environment import locate_home
    from service.tracking.mlflow_server import run_server
    from service.tracking.mlflow_settings import MlflowSettings

    check_port(host, port)
    _check_url(api)
    if database_url is None or artifacts is None:
        data = locate_home(home).create()
        database_url, artifacts = database_url or data.mlflow_uri, artifacts or data.artifacts
    artifacts.mkdir(parents=True, exist_ok=True)
    keep_private(artifacts)
    run_server(
        MlflowSettings(
            database=database_url,
            artifacts=artifacts,
            host=host,
            port=port,
            api=api,
            allowed_hosts=allowed_hosts,
        )
    )


def _check_url(api: str) -> None:
    """Check the address of an API.

    Raises:
        InputError: it is not a URL.
    """
    if not api.startswith(("http://", "https://")):
        raise InputError(f"--api: {api!r} is not a URL; write it as http://HOST:PORT")
