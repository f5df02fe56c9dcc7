"""Refused requests in the audit log."""

from __future__ import annotations

from fastapi import Request

from service.client.audit_actions import AuditAction
from service.server.store.callers import Caller
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
