"""The route of the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from service.client.account_models import AuditEntryOut, AuditOut
from service.client.audit_actions import AuditAction
from service.server.api import problems
from service.server.api.dependencies import TheCaller, TheService, authenticate
from service.server.rights import require_role
from service.server.store.user_roles import UserRole

audit_router = APIRouter(
    prefix="/v1",
    tags=["users"],
    dependencies=[Depends(authenticate)],
    responses=problems.responses(401, 403, 422, 429, 503),
)
_LATEST = 1e11
When = Annotated[float | None, Query(ge=0, le=_LATEST, description="Unix seconds")]


@audit_router.get("/audit")
def audit(
    service: TheService,
    caller: TheCaller,
    user: Annotated[str | None, Query(max_length=64)] = None,
    action: Annotated[list[AuditAction], Query(max_length=50)] = [],  # noqa: B006  # FastAPI copies it
    sweep: Annotated[str | None, Query(max_length=96)] = None,
    since: When = None,
    until: When = None,
    cursor: Annotated[str | None, Query(max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditOut:
    """Who did what, when and from where, the newest first. For admins only.

    Entries are added by the service, and deleted when they are older than its `--audit-days`.
    """
    require_role(caller, UserRole.ADMIN)
    service.audit_counter.write()
    page = service.audit.page(
        user=user,
        actions=action,
        sweep=sweep,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    return AuditOut(
        items=tuple(AuditEntryOut.model_validate(e) for e in page.items), cursor=page.cursor
    )
