"""What a user has of the service, beside what a user may have."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from service.base.errors import ForbiddenError
from service.client.api_models import CostOut, LimitOut, UserOut
from service.client.job_states import JobState
from service.server.api import problems
from service.server.api.dependencies import TheCaller, TheService
from service.server.api.event_feeds import TheFeeds
from service.server.store.user_roles import UserRole

limits_router = APIRouter(
    prefix="/v1", tags=["users"], responses=problems.responses(401, 403, 404, 422, 429, 503)
)


@limits_router.get("/users/{name}")
def user(
    service: TheService,
    feeds: TheFeeds,
    asking: TheCaller,
    name: Annotated[str, Path(max_length=64)],
) -> UserOut:
    """A user, and what it has beside the limits of a user; for admins, and for the user itself."""
    if name != asking.name and not asking.rights.covers(UserRole.ADMIN):
        raise ForbiddenError(f"{asking.name} can see {asking.name} only; admins can see every user")
    found, limits = service.users.get(name), service.settings.limits
    counts = service.sweeps.count_of(name)
    active = sum(counts[state] for state in JobState if state.is_active)
    stored = service.storage.stored_bytes_of(name)
    return UserOut(
        name=found.name,
        role=found.role.value,
        created=found.created,
        revoked=found.revoked,
        running=LimitOut(used=active, limit=limits.running),
        queued=LimitOut(used=counts[JobState.QUEUED], limit=limits.queued),
        streams=LimitOut(used=feeds.count(name), limit=limits.streams),
        stored_bytes=LimitOut(used=stored, limit=limits.stored_bytes),
        cost=CostOut.model_validate(service.costs.of_user(name)),
    )
