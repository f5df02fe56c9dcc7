"""Refused requests in the audit log."""

from __future__ import annotations

from fastapi import Request

from service.client.audit_actions import AuditAction
from service.server.store.callers import Actor, Caller
from service.server.store.job_records import ApiToken
from service.server.sweep_service import SweepService


def count_forbidden(request: Request) -> None:
    """Count a request that its caller, whose token is valid, may not make."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        return
    service: SweepService = request.app.state.service
    route = getattr(request.scope.get("route"), "path", "")
    service.audit_counter.count(
        caller.actor,
        AuditAction.REQUEST_FORBIDDEN,
        sweep=request.path_params.get("sweep_id"),
        detail=f"{request.method} {route}",
    )


def count_stranger(
    service: SweepService,
    address: str,
    known: ApiToken | None = None,
    why: str = "no token",
    client: str = "",
) -> None:
    """Count a request whose token is not valid, which may be ``known``.

    ``client`` is who has sent it to MLflow, if MLflow asks.
    """
    actor = Actor(
        user=None if known is None else known.user,
        token=None if known is None else known.name,
        address=address,
    )
    detail = f"{why}; MLflow, from {client}" if client else why
    service.audit_counter.count(actor, AuditAction.REQUEST_UNAUTHORIZED, detail=detail)
