"""Options of the commands that run the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PATTERN",
        help="Import paths that specs may name, e.g. trainables.models:MLP or 'ours.nets:*' "
        "(wildcards cover public classes only); disables uploads of code.",
    ),
]
Webhook = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook",
        metavar="URL",
        help="URL without a path to call when a sweep's state changes, signed with "
        "$GAPSWEEP_WEBHOOK_SECRET.",
    ),
]
WebhookFile = Annotated[
    Path | None,
    typer.Option(
        "--webhook-file",
        metavar="FILE",
        envvar="GAPSWEEP_WEBHOOK_FILE",
        help="File with the URLs of webhooks, one a line; $GAPSWEEP_WEBHOOKS has them, too.",
    ),
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, help="Times to restart a sweep whose driver died.")
]
KeepDays = Annotated[
    float | None,
    typer.Option(
        "--keep-days",
        metavar="DAYS",
        min=0,
        help="Delete sweeps this many days after their end (default: keep them).",
    ),
]
Rate = Annotated[str, typer.Option("--rate", help="Maximum rate of requests per user.")]
AuditDays = Annotated[
    float,
    typer.Option("--audit-days", min=1, max=36_500, help="Days to keep entries of the audit log."),
]
Submissions = Annotated[
    str,
    typer.Option("--submissions", help="Maximum rate of submissions and uploads per user."),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="ADDRESS",
        envvar="GAPSWEEP_TRUSTED_PROXIES",
        help="IP address or network of a proxy, whose X-Forwarded-For names the client.",
    ),
]
RayAddress = Annotated[
    str,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        envvar="RAY_ADDRESS",
        help="The Ray cluster: its dashboard's URL, e.g. http://head:8265, or `auto`.",
    ),
]
MlflowUrl = Annotated[
    str | None,
    typer.Option(
        "--mlflow-url",
        metavar="URL",
        envvar="GAPSWEEP_MLFLOW_URI",
        help="MLflow server (default: in the data directory); `off` disables logging.",
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address of the API to listen on.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the API.")]
DriverUrl = Annotated[
    str | None,
    typer.Option(
        "--driver-url",
        metavar="URL",
        envvar="GAPSWEEP_DRIVER_URL",
        help="URL of the API as the cluster's nodes reach it (default: of --host and --port).",
    ),
]
Python = Annotated[str, typer.Option("--python", help="Python interpreter of the cluster's nodes.")]
