"""Every call of the API, described once: its request, and how its response is parsed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from service.base.errors import ErrorDetails, Problem, ServerError, find_class_of_status
from service.base.versions import get_installed_version
from service.client.account_models import AuditOut, NewToken, TokenMade, TokensOut
from service.client.api_models import (
    BestOut,
    BundleOut,
    ClusterOut,
    LogOut,
    MeOut,
    ProblemOut,
    SweepDetails,
    SweepOut,
    SweepsOut,
    TrialCurve,
    TrialOut,
    UserOut,
    ValidOut,
)
from service.client.audit_actions import AuditAction
from service.client.driver_reports import DriverJobOut, End, InstructionsOut, Report
from service.client.job_states import JobState
from service.client.problem_types import find_class

T = TypeVar("T")

TOKEN_EXPIRES = "Gapsweep-Token-Expires"
"""The header of an answer that says when the request's token expires, in Unix seconds."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """A request, and the function that parses its response's body."""

    parse: Callable[[bytes], T]
    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None

    def request(self) -> dict[str, Any]:
        """Keyword arguments of the HTTP client's ``request``, without parameters that are None."""
        params = {k: v for k, v in self.params.items() if v is not None}
        return {
            "method": self.method,
            "url": self.path,
            "params": params,
            "headers": dict(self.headers),
            "content": self.content,
        }

    @property
    def max_tries(self) -> int:
        """How often it may be sent: a restarted server has closed the connections kept open."""
        repeatable = self.method == "GET" or "Idempotency-Key" in self.headers
        return 2 if repeatable else 1

    def read(self, response: httpx2.Response) -> T:
        """The parsed content of a response.

        Raises:
            GapsweepError: the response is an error; the exception that the server raised.
        """
        raise_for_problem(response)
        return self.parse(response.content)


def me() -> Call[MeOut]:
    """Whose token the client has."""
    return Call(parse=_make_parser(MeOut), method="GET", path="/v1/me")


def user(name: str) -> Call[UserOut]:
    """A user, and what it has beside the limits of a user."""
    return Call(parse=_make_parser(UserOut), method="GET", path=f"/v1/users/{quote(name, safe='')}")


def tokens(user: str | None = None) -> Call[TokensOut]:
    """The tokens of a user, without one of who asks."""
    params = {"user": user}
    return Call(parse=_make_parser(TokensOut), method="GET", path="/v1/tokens", params=params)


def add_token(asked: NewToken) -> Call[TokenMade]:
    """Create a token."""
    content = asked.model_dump_json(exclude_unset=True).encode()
    headers = {"Content-Type": "application/json"}
    parse = _make_parser(TokenMade)
    return Call(parse=parse, method="POST", path="/v1/tokens", content=content, headers=headers)


def revoke_token(name: str, user: str | None = None) -> Call[None]:
    """Revoke a token."""
    path = f"/v1/tokens/{quote(name, safe='')}"
    return Call(parse=_ignore_body, method="DELETE", path=path, params={"user": user})


def audit(
    *,
    user: str | None = None,
    actions: Sequence[AuditAction] = (),
    sweep: str | None = None,
    since: float | None = None,
    until: float | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Call[AuditOut]:
    """A page of the audit log, the newest entries first; times are Unix seconds."""
    wanted = {"user": user, "sweep": sweep, "since": since, "until": until}
    params = {**wanted, "cursor": cursor, "limit": limit, "action": [a.value for a in actions]}
    return Call(parse=_make_parser(AuditOut), method="GET", path="/v1/audit", params=params)


def submit(
    spec: Mapping[str, Any] | bytes,
    *,
    priority: int = 0,
    after: Sequence[str] = (),
    bundle: str | None = None,
    idempotency_key: str | None = None,
) -> Call[SweepOut]:
    """Queue a sweep: its spec as a mapping, or as YAML or JSON text; ``bundle`` is a digest."""
    return Call(
        parse=_make_parser(SweepOut),
        method="POST",
        path="/v1/sweeps",
        params={"priority": priority, "after": list(after), "bundle": bundle},
        headers={} if idempotency_key is None else {"Idempotency-Key": idempotency_key},
        content=_encode_spec(spec),
    )


def add_bundle(archive: bytes) -> Call[BundleOut]:
    """Upload code for sweeps, see :func:`service.client.bundle_packing.pack`."""
    return Call(parse=_make_parser(BundleOut), method="POST", path="/v1/bundles", content=archive)


def validate(spec: Mapping[str, Any] | bytes) -> Call[ValidOut]:
    """Validate a spec without running it."""
    return Call(
        parse=_make_parser(ValidOut), method="POST", path="/v1/validate", content=_encode_spec(spec)
    )


def sweeps(
    *,
    owner: str | None = None,
    states: Sequence[JobState] = (),
    name: str | None = None,
    prefix: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Call[SweepsOut]:
    """A page of sweeps, the newest first."""
    wanted = {"owner": owner, "name": name, "prefix": prefix, "cursor": cursor, "limit": limit}
    params = {**wanted, "state": [s.value for s in states]}
    return Call(parse=_make_parser(SweepsOut), method="GET", path="/v1/sweeps", params=params)


def sweep(sweep_id: str) -> Call[SweepDetails]:
    """One sweep with its spec and its history."""
    return Call(parse=_make_parser(SweepDetails), method="GET", path=_build_path(sweep_id))


def trials(sweep_id: str) -> Call[list[TrialOut]]:
    """A sweep's trials."""
    parse = _make_parser(list[TrialOut])
    return Call(parse=parse, method="GET", path=f"{_build_path(sweep_id)}/trials")


def trial(sweep_id: str, number: int) -> Call[TrialCurve]:
    """One trial with its curve."""
    path = f"{_build_path(sweep_id)}/trials/{number}"
    return Call(parse=_make_parser(TrialCurve), method="GET", path=path)


def best(sweep_id: str) -> Call[BestOut]:
    """The best trial so far and the baseline."""
    return Call(parse=_make_parser(BestOut), method="GET", path=f"{_build_path(sweep_id)}/best")


def report(sweep_id: str, form: Literal["html", "json", "text"] = "html") -> Call[str]:
    """A sweep's report as an HTML page or as text, or its summary as JSON."""
    path = f"{_build_path(sweep_id)}/report"
    return Call(parse=bytes.decode, method="GET", path=path, params={"format": form})


def log(sweep_id: str, offset: int = 0) -> Call[LogOut]:
    """A part of the drivers' log, from a byte offset on."""
    path, params = f"{_build_path(sweep_id)}/logs", {"offset": offset}
    return Call(parse=_make_parser(LogOut), method="GET", path=path, params=params)


def model(sweep_id: str) -> Call[bytes]:
    """The best trial's weights: a file with a PyTorch state dict."""
    return Call(parse=bytes, method="GET", path=f"{_build_path(sweep_id)}/model")


def cluster() -> Call[ClusterOut]:
    """The cluster's nodes, and the numbers of queued and active sweeps."""
    return Call(parse=_make_parser(ClusterOut), method="GET", path="/v1/cluster")


def cancel(sweep_id: str) -> Call[SweepOut]:
    """Cancel a sweep."""
    return _request_action(sweep_id, "cancel")


def pause(sweep_id: str) -> Call[SweepOut]:
    """Pause a sweep until it is resumed."""
    return _request_action(sweep_id, "pause")


def resume(
    sweep_id: str, *, widen: Sequence[str] = (), accept_changes: bool = False
) -> Call[SweepOut]:
    """Queue a paused sweep again; with ``accept_changes`` also on other data, code or libraries.

    ``widen`` are wider ranges, as ``lambda[penalty=l2]=1e-7:10``.
    """
    return _request_action(sweep_id, "resume", **_widen(widen), **_accept(accept_changes))


def retry(sweep_id: str, *, accept_changes: bool = False) -> Call[SweepOut]:
    """Queue a failed or cancelled sweep again, as :func:`resume`."""
    return _request_action(sweep_id, "retry", **_accept(accept_changes))


def extend(
    sweep_id: str, trials: int, *, widen: Sequence[str] = (), accept_changes: bool = False
) -> Call[SweepOut]:
    """Queue a sweep that succeeded for more trials, as :func:`resume`."""
    params = {"trials": trials, **_widen(widen), **_accept(accept_changes)}
    return _request_action(sweep_id, "extend", **params)


def delete(sweep_id: str) -> Call[SweepOut]:
    """Delete a sweep that has ended: its files, its runs in MLflow, all that is known of it."""
    return Call(parse=_make_parser(SweepOut), method="DELETE", path=_build_path(sweep_id))


def _widen(ranges: Sequence[str]) -> dict[str, list[str]]:
    return {"widen": list(ranges)} if ranges else {}


def _accept(changes: bool) -> dict[str, str]:
    return {"accept_changes": "true"} if changes else {}


def driver_job() -> Call[DriverJobOut]:
    """For a sweep's own token: what its driver is to run."""
    return Call(parse=_make_parser(DriverJobOut), method="GET", path="/v1/driver/job")


def driver_report(report: Report) -> Call[InstructionsOut]:
    """For a sweep's own token: what is new of the sweep."""
    content = report.model_dump_json(by_alias=True, exclude_unset=True).encode()
    parse = _make_parser(InstructionsOut)
    return Call(parse=parse, method="POST", path="/v1/driver/report", content=content)


def driver_end(end: End) -> Call[None]:
    """For a sweep's own token: how the sweep ended."""
    content = end.model_dump_json(by_alias=True, exclude_unset=True).encode()
    return Call(parse=_ignore_body, method="POST", path="/v1/driver/end", content=content)


def events(sweep_id: str, after: int) -> Call[None]:
    """A stream of a sweep's events, see :meth:`service.client.client.Client.events`."""
    return Call(
        parse=_ignore_body,
        method="GET",
        path=f"{_build_path(sweep_id)}/events",
        headers={"Last-Event-ID": str(after), "Accept": "text/event-stream"},
    )


def raise_for_problem(response: httpx2.Response) -> None:
    """Raise the exception that an error response describes.

    Raises:
        GapsweepError: as the server raised it, with every problem of a spec.
    """
    if not response.is_error:
        return
    try:
        problem = ProblemOut.model_validate_json(response.content)
    except ValidationError:
        raise ServerError(
            f"unexpected response (HTTP {response.status_code}) from {response.url}; "
            "is it a gapsweep server?"
        ) from None
    kind = find_class(problem.type) or find_class_of_status(response.status_code)
    raise kind.restore(_read_details(problem, response))


def _read_details(problem: ProblemOut, response: httpx2.Response) -> ErrorDetails:
    retry_after = response.headers.get("Retry-After", "")
    source, colon, count = problem.detail.rpartition(": ")
    return ErrorDetails(
        message=source + _describe_versions(response) + colon + count
        if problem.problems
        else problem.detail,
        problems=tuple(Problem(p.path, p.message) for p in problem.problems),
        retry_after=float(retry_after) if retry_after.isdecimal() else None,
    )


def _describe_versions(response: httpx2.Response) -> str:
    """Both versions, if the server's differs: it may know other keys than this one."""
    theirs, ours = response.headers.get("Gapsweep-Version"), get_installed_version()
    if theirs is None or theirs == ours:
        return ""
    return f", for the server's gapsweep {theirs} (this is {ours})"


def _request_action(sweep_id: str, action: str, **params: Any) -> Call[SweepOut]:
    path = f"{_build_path(sweep_id)}:{action}"
    return Call(parse=_make_parser(SweepOut), method="POST", path=path, params=params)


def _make_parser(kind: type[T]) -> Callable[[bytes], T]:
    return TypeAdapter(kind).validate_json


def _ignore_body(_body: bytes) -> None:
    """For a response without a body, or one that is read as a stream."""


def _build_path(sweep_id: str) -> str:
    return f"/v1/sweeps/{sweep_id}"


def _encode_spec(spec: Mapping[str, Any] | bytes) -> bytes:
    return spec if isinstance(spec, bytes) else json.dumps(spec).encode()
