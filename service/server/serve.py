"""The service as a process: its API, and the background loops that look after its sweeps."""

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
from service.base.redaction import RedactingFormatter
from service.base.versions import get_installed_version
from service.cluster.jobs_client import RayJobs
from service.server import driver_config
from service.server.api.app import create_app
from service.server.api.parts import Part
from service.server.api.rate_limits import RateSettings
from service.server.leased_loop import LeasedLoop
from service.server.queue import QueueLimits
from service.server.reconciler import Reconciler
from service.server.store.database import Database
from service.server.store.lease_store import LeaseStore
from service.server.store.webhook_store import WebhookStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.server.webhook_delivery import WebhookSender, check_urls
from service.sweep.home import Home

PERIOD = 0.5
"""Seconds between rounds of the reconciler."""
_GRACE = 5


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of a server. ``mlflow_uri`` None leaves it to each driver's machine.

    ``parts`` are what this process started beside the API.
    """

    service: ServiceSettings
    ray_address: str
    mlflow_uri: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    limits: QueueLimits = field(default_factory=QueueLimits)
    rates: RateSettings = field(default_factory=RateSettings)
    retries: int = 3
    python: str = "python"
    webhooks: Sequence[str] = ()
    webhook_secret: str | None = None
    parts: Sequence[Part] = ()


def build(settings: ServerSettings) -> FastAPI:
    """The app; the database is checked and the drivers' configuration is written.

    Raises:
        DatabaseUnavailableError: the database does not answer.
        DatabaseSetupError: the database's schema is another version's.
        HomeError: the home folder cannot be written.
        InputError: a setting is invalid.
    """
    database = Database(settings.service.database_url)
    database.check()
    home = Home(settings.service.home).create()
    home.data.mkdir(exist_ok=True)
    driver_config.write(
        driver_config.DriverConfig(
            version=get_installed_version(),
            database_url=settings.service.database_url,
            mlflow_uri=settings.mlflow_uri,
        ),
        home,
    )
    service = SweepService(settings.service, database)
    cluster = RayJobs(settings.ray_address, settings.python)
    reconciler = Reconciler(service, cluster, settings.limits, settings.retries)
    leases = LeaseStore(database, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    reconciling = LeasedLoop(
        "sweeps", leases, reconciler.round, PERIOD, on_error=reconciler.reset_timeouts
    )
    service.wake = reconciling.wake
    loops = [reconciling, *_build_webhook_loops(settings, database, leases)]
    return create_app(service, cluster, rates=settings.rates, loops=loops, parts=settings.parts)


def serve(settings: ServerSettings) -> None:
    """Serve the API until the process receives a signal to stop.

    Raises:
        GapsweepError: as :func:`build`.
        InputError: the address cannot be used.
    """
    check_port(settings.host, settings.port)
    _configure_logging()
    app = build(settings)
    gc.collect()
    gc.freeze()  # a collection over everything that is loaded would delay every request
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
    )


def _build_webhook_loops(
    settings: ServerSettings, database: Database, leases: LeaseStore
) -> list[LeasedLoop]:
    webhooks = WebhookStore(database)
    check_urls(settings.webhooks)
    webhooks.set_urls(settings.webhooks)
    if not settings.webhooks:
        return []
    sender = WebhookSender(webhooks, settings.webhook_secret or "")
    return [LeasedLoop("webhooks", leases, sender.round, 1.0)]


def _configure_logging() -> None:
    """Log to standard error, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("alembic", "httpx2", "httpx", "ray"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
