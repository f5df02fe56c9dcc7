"""The service as a process: its API, and on threads of their own what looks after its sweeps."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI

from service.base.ports import check_port
from service.base.redaction import Redacting
from service.base.versions import installed
from service.cluster.jobs_client import RayJobs
from service.server import driver_config
from service.server.actions import Service, Settings
from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.leased_loop import Keeper
from service.server.queue import Limits
from service.server.reconciler import Reconciler
from service.server.store.database import Database
from service.server.store.leases import Leases
from service.server.store.webhooks import Webhooks
from service.server.webhook_delivery import Caller, check_urls
from service.sweep.home import Home

PERIOD = 0.5
"""Seconds between rounds of looking after the sweeps."""
_GRACE = 5


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How a server is set up. ``mlflow_uri`` None leaves it to each driver's machine."""

    service: Settings
    ray_address: str
    mlflow_uri: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    limits: Limits = field(default_factory=Limits)
    rates: RateSettings = field(default_factory=RateSettings)
    retries: int = 3
    python: str = "python"
    webhooks: Sequence[str] = ()
    webhook_secret: str | None = None


def build(settings: ServerSettings) -> FastAPI:
    """The app, its database checked, its drivers told where to find it.

    Raises:
        DatabaseError: the database does not answer, or is another version's.
        HomeError: the home cannot be written.
        InputError: a setting is not valid.
    """
    database = Database(settings.service.database_url)
    database.check()
    home = Home(settings.service.home).create()
    home.data.mkdir(exist_ok=True)
    driver_config.leave(
        driver_config.Handover(
            version=installed(),
            database_url=settings.service.database_url,
            mlflow_uri=settings.mlflow_uri,
        ),
        home,
    )
    service = Service(settings.service, database)
    cluster = RayJobs(settings.ray_address, settings.python)
    reconciler = Reconciler(service, cluster, settings.limits, settings.retries)
    leases = Leases(database, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    looking_after = Keeper(
        "sweeps", leases, reconciler.round, PERIOD, on_trouble=reconciler.lost_sight
    )
    service.wake = looking_after.wake
    keepers = [looking_after, *_calling(settings, database, leases)]
    return create_app(service, cluster, rates=settings.rates, keepers=keepers)


def serve(settings: ServerSettings) -> None:
    """Answer until the process is told to end.

    Raises:
        InputError: as :func:`build`, or the address cannot be used.
    """
    check_port(settings.host, settings.port)
    _log_without_secrets()
    app = build(settings)
    gc.collect()
    gc.freeze()  # what lives as long as the process: looking through it all stops every answer
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
    )


def _calling(settings: ServerSettings, database: Database, leases: Leases) -> list[Keeper]:
    webhooks = Webhooks(database)
    check_urls(settings.webhooks)
    webhooks.settle(settings.webhooks)
    if not settings.webhooks:
        return []
    caller = Caller(webhooks, settings.webhook_secret or "")
    return [Keeper("webhooks", leases, caller.round, 1.0)]


def _log_without_secrets() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("alembic", "httpx2", "httpx", "ray"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
