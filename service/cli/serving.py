"""Commands that run the service and bring its database up to date."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from service.base.plain_text import say
from service.cli.app import SERVICE, HomeOption, app
from service.cli.limit_options import (
    GpusOf,
    GpusPerUser,
    QueuedPerUser,
    Running,
    RunningPerUser,
    StoredPerUser,
    StreamsPerUser,
    build_user_limits,
    parse_gpus_of,
)
from service.cli.serve_options import (
    Allow,
    AuditDays,
    DriverUrl,
    Host,
    KeepDays,
    MlflowUrl,
    Port,
    Python,
    Rate,
    RayAddress,
    Retries,
    Submissions,
    TrustedProxy,
    Webhook,
    WebhookFile,
)
from service.cli.service_database import DatabaseUrl, find_database_url, open_home

if TYPE_CHECKING:
    from service.server.serve import ServerSettings
    from service.server.user_limits import UserLimits
    from service.sweep.home import Home


@app.command(rich_help_panel=SERVICE)
def up(
    home: HomeOption = None,
    port: Port = 8080,
    mlflow_port: Annotated[
        int, typer.Option("--mlflow-port", min=1, max=65535, help="Port of MLflow.")
    ] = 5000,
    ray_port: Annotated[
        int, typer.Option("--ray-port", min=1, max=65535, help="Port of Ray's HTTP API.")
    ] = 8265,
    cpus: Annotated[
        int | None, typer.Option("--cpus", min=1, help="Logical CPUs to use (default: all).")
    ] = None,
    running: Running = 4,
    running_per_user: RunningPerUser = None,
    queued_per_user: QueuedPerUser = 1_000,
    streams_per_user: StreamsPerUser = 100,
    stored_per_user: StoredPerUser = 100.0,
    keep_days: KeepDays = None,
    audit_days: AuditDays = 730,
) -> None:
    """Start the whole service on this machine: API, MLflow UI and Ray. Stop it with Ctrl-C."""
    from service.cli.local_stack import Ports, run_stack
    from service.cli.stop_signals import ignore_signals, stop_in_order
    from service.server.serve import serve

    ports = Ports(port, mlflow_port, ray_port)
    limits = build_user_limits(
        running_per_user or running, queued_per_user, streams_per_user, stored_per_user
    )
    settings = _settings(open_home(home), None, "", limits=limits, running=running)
    settings = replace(settings, keep_days=keep_days, audit_days=audit_days)
    with stop_in_order(), run_stack(settings, ports, cpus, say) as (found, token):
        say(f"API     http://{found.host}:{found.port}")
        say(f"MLflow  {found.mlflow_uri}  (password: the token below; user name: any)")
        say(f"Ray     {found.ray_address}")
        say("Every server listens on 127.0.0.1 only.\n\nIn another terminal:")
        say(f"  export GAPSWEEP_SERVER=http://{found.host}:{found.port}")
        say(f"  export GAPSWEEP_TOKEN={token}")
        say("  gapsweep submit SPEC.yaml --watch\n")
        try:
            serve(found)
        finally:
            ignore_signals()


@app.command(rich_help_panel=SERVICE)
def serve(
    ray_address: RayAddress,
    database_url: DatabaseUrl = None,
    mlflow_url: MlflowUrl = None,
    home: HomeOption = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    driver_url: DriverUrl = None,
    running: Running = 4,
    running_per_user: RunningPerUser = None,
    gpus_per_user: GpusPerUser = None,
    gpus_of: GpusOf = None,
    queued_per_user: QueuedPerUser = 1_000,
    streams_per_user: StreamsPerUser = 100,
    stored_per_user: StoredPerUser = 100.0,
    retries: Retries = 3,
    keep_days: KeepDays = None,
    allow: Allow = None,
    webhook: Webhook = None,
    webhook_file: WebhookFile = None,
    rate: Rate = "1200/minute",
    submissions: Submissions = "120/minute",
    audit_days: AuditDays = 730,
    trusted_proxy: TrustedProxy = None,
    python: Python = "python",
) -> None:
    """Run the server against an existing Ray cluster."""
    from service.base.private_files import keep_private
    from service.server.api.rate_limits import RateSettings
    from service.server.queue import QueueLimits
    from service.server.serve import serve as serve_now
    from service.server.user_limits import default_running
    from service.server.webhook_delivery import gather_urls

    data = open_home(home)
    keep_private(data.path)
    most = running_per_user or default_running(running)
    user_limits = build_user_limits(most, queued_per_user, streams_per_user, stored_per_user)
    limits = QueueLimits(
        running=running,
        running_per_user=most,
        gpus_per_user=gpus_per_user,
        gpus_of=dict(map(parse_gpus_of, gpus_of or [])),
    )
    settings = _settings(
        data, database_url, ray_address, limits=user_limits, allow=tuple(allow or ())
    )
    serve_now(
        replace(
            settings,
            mlflow_uri=mlflow_url,
            host=host,
            port=port,
            driver_url=driver_url,
            limits=limits,
            retries=retries,
            keep_days=keep_days,
            rates=RateSettings(requests=rate, submissions=submissions),
            python=python,
            audit_days=audit_days,
            trusted_proxies=tuple(trusted_proxy or ()),
            webhooks=gather_urls(
                webhook or (), webhook_file, os.environ.get("GAPSWEEP_WEBHOOKS", "")
            ),
            webhook_secret=os.environ.get("GAPSWEEP_WEBHOOK_SECRET"),
        )
    )


@app.command(rich_help_panel=SERVICE)
def migrate(database_url: DatabaseUrl = None, home: HomeOption = None) -> None:
    """Create the service's database or migrate it to this version."""
    from service.server.store.database import Database

    Database(find_database_url(open_home(home), database_url)).upgrade()
    say("the database is up to date")


def _settings(
    home: Home,
    database_url: str | None,
    ray_address: str,
    *,
    limits: UserLimits,
    running: int = 4,
    allow: tuple[str, ...] = (),
) -> ServerSettings:
    from service.server.queue import QueueLimits
    from service.server.serve import ServerSettings
    from service.server.sweep_service import ServiceSettings

    url = find_database_url(home, database_url)
    return ServerSettings(
        service=ServiceSettings(database_url=url, home=home.path, trainables=allow, limits=limits),
        ray_address=ray_address,
        limits=QueueLimits(running=running, running_per_user=limits.running),
    )
