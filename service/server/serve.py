"""The service as a process: its API, and the background loops that look after its sweeps."""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from service.base.errors import InputError
from service.base.ports import check_port, is_loopback
from service.base.server_logging import configure_logging
from service.cluster.jobs_client import RayJobs
from service.server.api.app import create_app
from service.server.api.background_parts import Part
from service.server.api.rate_limits import RateSettings
from service.server.driver_access import Handover
from service.server.http_timeouts import PatientProtocol
from service.server.leased_loop import LeasedLoop
from service.server.mlflow_tasks import END_RUNS, REMOVE_RUNS, MlflowTask
from service.server.queue import QueueLimits
from service.server.reconciler import Reconciler
from service.server.run_cleanup import RunCleanup
from service.server.store.database import Database
from service.server.store.lease_store import LeaseStore
from service.server.store.webhook_store import WebhookStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.server.upkeep import Upkeep
from service.server.webhook_delivery import WebhookSender, check_urls
from service.sweep.home import Home

PERIOD = 0.5
"""Seconds between rounds of the reconciler."""
UPKEEP_PERIOD = 10.0
"""Seconds between rounds of the upkeep."""
_GRACE = 5
_AUDIT_PERIOD = 3600.0
_OPEN_RUNS_PERIOD = 60.0


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of a server.

    ``mlflow_uri`` None leaves it to each driver's machine. ``driver_url`` is the URL of this API as
    drivers on the cluster reach it; None takes it from ``host`` and ``port``. ``trusted_proxies``
    are the addresses or networks whose ``X-Forwarded-For`` names the client. ``keep_days`` is for
    how many days sweeps that have ended are kept; None keeps them. ``parts`` are what this process
    started beside the API. Entries of the audit log are kept for ``audit_days`` days.
    """

    service: ServiceSettings
    ray_address: str
    mlflow_uri: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    driver_url: str | None = None
    limits: QueueLimits = field(default_factory=QueueLimits)
    rates: RateSettings = field(default_factory=RateSettings)
    retries: int = 3
    python: str = "python"
    webhooks: Sequence[str] = ()
    webhook_secret: str | None = None
    keep_days: float | None = None
    trusted_proxies: Sequence[str] = ()
    parts: Sequence[Part] = ()
    audit_days: float = 730.0


def build(settings: ServerSettings) -> FastAPI:
    """The app; the database is checked.

    Raises:
        DatabaseUnavailableError: the database does not answer.
        DatabaseSetupError: the database's schema is another version's.
        HomeError: the home folder cannot be written.
        InputError: a setting is invalid.
    """
    driver_url = find_driver_url(settings)
    database = Database(settings.service.database_url)
    database.check()
    home = Home(settings.service.home).create()
    home.data.mkdir(exist_ok=True)
    (home.path / "service.json").unlink(missing_ok=True)  # of older versions: it has the password
    service = SweepService(settings.service, database)
    cluster = RayJobs(settings.ray_address, settings.python)
    handover = Handover(home.path, service.sweep_tokens, driver_url, settings.mlflow_uri)
    reconciler = Reconciler(service, cluster, settings.limits, handover, settings.retries)
    leases = LeaseStore(database, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    reconciling = LeasedLoop(
        "sweeps", leases, reconciler.round, PERIOD, on_error=reconciler.reset_timeouts
    )
    service.wake = reconciling.wake
    about_mlflow = (home.path, settings.mlflow_uri, service.service_tokens.make)
    upkeep = Upkeep(service, MlflowTask(REMOVE_RUNS, *about_mlflow), settings.keep_days)
    keeping = LeasedLoop("upkeep", leases, upkeep.round, UPKEEP_PERIOD)
    service.wake_upkeep = keeping.wake
    cleanup = RunCleanup(service.sweeps, MlflowTask(END_RUNS, *about_mlflow))
    ending = LeasedLoop("open runs", leases, cleanup.round, _OPEN_RUNS_PERIOD)
    auditing = _build_audit_loop(service, settings.audit_days, leases)
    loops = [
        reconciling,
        keeping,
        ending,
        auditing,
        *_build_webhook_loops(settings, database, leases),
    ]
    return create_app(service, cluster, rates=settings.rates, loops=loops, parts=settings.parts)


def find_driver_url(settings: ServerSettings) -> str:
    """This API's URL for drivers: as it was set, else from where it listens.

    Raises:
        InputError: it is no URL, or the drivers run on other machines and cannot reach it.
    """
    if settings.driver_url is not None:
        found = urlsplit(settings.driver_url)
        if found.scheme not in ("http", "https") or not found.hostname:
            raise InputError(
                f"--driver-url: invalid URL {settings.driver_url!r}; write it as http://HOST:8080"
            )
        return settings.driver_url
    everywhere = settings.host in ("0.0.0.0", "::", "")
    host = "127.0.0.1" if everywhere else settings.host
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    if is_loopback(host) and not _is_on_this_machine(settings.ray_address):
        raise InputError(
            f"drivers on the cluster {settings.ray_address} cannot reach this server at {url}; "
            "name it as they do, e.g. --driver-url http://HOST:8080"
        )
    return url


def _is_on_this_machine(ray_address: str) -> bool:
    """Whether a Ray address, which may lack the scheme, means this machine."""
    address = ray_address if "://" in ray_address else f"//{ray_address}"
    return ray_address in ("", "auto", "local") or is_loopback(urlsplit(address).hostname or "")


def serve(settings: ServerSettings) -> None:
    """Serve the API until the process receives a signal to stop.

    Raises:
        GapsweepError: as :func:`build`.
        InputError: the address cannot be used.
    """
    check_port(settings.host, settings.port)
    check_proxies(settings.trusted_proxies)
    configure_logging()
    app = build(settings)
    gc.collect()
    gc.freeze()  # a collection over everything that is loaded would delay every request
    uvicorn.run(
        app, host=settings.host, port=settings.port, **list_http_options(settings.trusted_proxies)
    )


def list_http_options(trusted_proxies: Sequence[str]) -> dict[str, Any]:
    """How uvicorn serves the API: its arguments but for the app and the address."""
    return {
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": _GRACE,
        "http": PatientProtocol,
        "ws": "none",
        "proxy_headers": bool(trusted_proxies),
        "forwarded_allow_ips": list(trusted_proxies),
    }


def check_proxies(addresses: Sequence[str]) -> None:
    """Check that each is an IP address or a network.

    Raises:
        InputError: one is neither; a name could become another machine's.
    """
    for address in addresses:
        try:
            ip_network(address, strict=True)
        except ValueError:
            raise InputError(
                f"--trusted-proxy: invalid address {address!r}; write it as 10.0.0.7 or 10.0.0.0/8"
            ) from None


def _build_webhook_loops(
    settings: ServerSettings, database: Database, leases: LeaseStore
) -> list[LeasedLoop]:
    webhooks = WebhookStore(database)
    check_urls(settings.webhooks)
    webhooks.set_urls(settings.webhooks)
    if not settings.webhooks:
        return []
    sender = WebhookSender(webhooks, settings.webhook_secret or "")
    return [
        LeasedLoop(_name_webhook_loop(url), leases, partial(sender.deliver, url), 1.0)
        for url in dict.fromkeys(settings.webhooks)
    ]


def _name_webhook_loop(url: str) -> str:
    """Each receiver has a loop of its own: a slow one holds up no other one."""
    return f"webhook-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _build_audit_loop(service: SweepService, days: float, leases: LeaseStore) -> LeasedLoop:
    def delete_old() -> None:
        service.audit.delete_before(time.time() - days * 86_400)

    return LeasedLoop("audit", leases, delete_old, _AUDIT_PERIOD)
