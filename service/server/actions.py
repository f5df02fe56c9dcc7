"""What people may ask of the service: the one place where rights, states and rules meet."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from service.base.errors import ForbiddenError, IllegalChangeError, Problem, SpecError
from service.server.bundle_archive import Limits as BundleLimits
from service.server.bundle_archive import digest, unpack
from service.server.store.bundles import Bundles
from service.server.store.database import Database
from service.server.store.job_records import Bundle, Job, Submission, User, Wish
from service.server.store.progress import Progress
from service.server.store.roles import RoleOfUser
from service.server.store.states import JobState
from service.server.store.sweeps import Sweeps
from service.server.store.users import Users
from service.spec.file import dump_spec, parse_spec
from service.spec.model import SweepSpec
from service.sweep.home import Home

MOST_PRIORITY = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a service is set up.

    ``home`` is the folder that the cluster's nodes share. ``trainables`` are patterns of the
    import paths that specs may name; without any, whoever may submit may run any code. With some,
    no bundles are taken, and data are read from the home's ``data`` only.
    """

    database_url: str
    home: Path
    trainables: tuple[str, ...] = ()
    bundles: BundleLimits = field(default_factory=BundleLimits)

    @property
    def data(self) -> Path:
        """Where relative paths of specs lead to."""
        return Home(self.home).data


class Service:
    """The service without its network and without its cluster."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.users, self.sweeps = Users(database), Sweeps(database)
        self.progress, self.bundles = Progress(database), Bundles(database)
        self.wake: Callable[[], None] = lambda: None
        """Called where a sweep may be started or stopped now."""

    def check(self, raw: Mapping[str, Any]) -> SweepSpec:
        """A spec as the service would run it. Relative paths are from the home's ``data``.

        Raises:
            SpecError, ForbiddenError: as :meth:`_read`.
        """
        return self._read(raw)[0]

    def _read(self, raw: Mapping[str, Any]) -> tuple[SweepSpec, str]:
        """A spec, and its text as it is stored.

        Raises:
            SpecError: it does not validate, or asks for what only its writer's machine has.
            ForbiddenError: its trainable is not among those that may be swept.
        """
        space = raw.get("space")
        if isinstance(space, Mapping) and "file" in space:
            words = "a file of yours is not on the server; write the space into the spec"
            raise SpecError("the spec", [Problem("space.file", words)])
        try:
            spec = parse_spec(raw, "the spec", self.settings.data)
            text = dump_spec(spec)
            spec.model_dump_json()
        except (ValueError, RecursionError) as error:  # legal YAML that nothing can be made of
            raise SpecError("the spec", [Problem("", f"it cannot be read: {error}")]) from None
        if self.settings.trainables:
            self._check_allowed(spec)
        return spec, text

    def _check_allowed(self, spec: SweepSpec) -> None:
        allowed = self.settings.trainables
        data = spec.data if isinstance(spec.data, str) else getattr(spec.data, "path", None)
        function = [data] if isinstance(data, str) else []
        for path in (*spec.import_paths(), *function):
            if not any(fnmatchcase(path, pattern) for pattern in allowed):
                raise ForbiddenError(f"{path!r} may not be used here; allowed: {_words(allowed)}")
        file = data if isinstance(data, Path) else getattr(spec.data, "folder", None)
        if file is not None and not Path(file).is_relative_to(self.settings.data.resolve()):
            raise ForbiddenError(f"data: {file} may not be read here, only what is in the home")

    def submit(
        self,
        user: User,
        raw: Mapping[str, Any],
        *,
        priority: int = 0,
        after: Sequence[str] = (),
        bundle: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a sweep, or find the one that was submitted with the same key.

        Raises:
            SpecError, ForbiddenError: as :meth:`check`; the user may only look.
            SweepNotFoundError, BundleNotFoundError: a sweep to wait for, or the code, is not there.
        """
        require(user, RoleOfUser.USER)
        spec, text = self._read(raw)
        if bundle is not None:
            self.bundles.get(bundle)
        job = self.sweeps.submit(
            Submission(
                sweep_id=f"{spec.name}-{secrets.token_hex(4)}",
                name=spec.name,
                owner=user.name,
                spec=text,
                priority=priority,
                after=tuple(after),
                bundle=bundle,
                idempotency_key=idempotency_key,
            )
        )
        self.wake()
        return job

    def add_bundle(self, user: User, archive: bytes) -> Bundle:
        """Take a user's code: unpacked into the home, for the sweeps that name its digest.

        Raises:
            ForbiddenError: the user may only look, or no code of users' own is taken here.
            BundleError: it cannot be taken as it is.
        """
        require(user, RoleOfUser.USER)
        if self.settings.trainables:
            allowed = _words(self.settings.trainables)
            raise ForbiddenError(f"code of users' own is not taken here; allowed: {allowed}")
        modules = unpack(archive, Home(self.settings.home).bundles, self.settings.bundles)
        return self.bundles.add(digest(archive), user.name, len(archive), modules)

    def modules(self, job: Job) -> tuple[Path, ...]:
        """The packages that a sweep's own code is imported from."""
        if job.bundle is None:
            return ()
        folder = Home(self.settings.home).bundles / job.bundle
        return tuple(folder / name for name in self.bundles.get(job.bundle).modules)

    def cancel(self, user: User, sweep_id: str) -> Job:
        """End a sweep for good; what it finished stays.

        Raises:
            ForbiddenError: it is another user's.
            IllegalChangeError: it has ended already.
        """
        job = self._own(user, sweep_id)
        if job.state.holds_a_job:
            return self.sweeps.want(sweep_id, Wish.CANCEL, user.name)
        return self.sweeps.change(sweep_id, JobState.CANCELLED, "cancelled", user.name)

    def pause(self, user: User, sweep_id: str) -> Job:
        """Stop a sweep until it is resumed.

        Raises:
            ForbiddenError: it is another user's.
            IllegalChangeError: it has ended, or is paused already.
        """
        job = self._own(user, sweep_id)
        if job.state.holds_a_job:
            return self.sweeps.want(sweep_id, Wish.PAUSE, user.name)
        return self.sweeps.change(sweep_id, JobState.PAUSED, "paused", user.name)

    def resume(self, user: User, sweep_id: str) -> Job:
        """Queue a paused sweep again.

        Raises:
            ForbiddenError: it is another user's.
            IllegalChangeError: it is not paused.
        """
        self._own_in(user, sweep_id, "resumed", JobState.PAUSED)
        return self._queue(sweep_id, "resumed", user)

    def retry(self, user: User, sweep_id: str) -> Job:
        """Queue a failed or cancelled sweep again; it goes on where it stood.

        Raises:
            ForbiddenError: it is another user's.
            IllegalChangeError: it has neither failed nor been cancelled.
        """
        self._own_in(user, sweep_id, "tried again", JobState.FAILED, JobState.CANCELLED)
        return self._queue(sweep_id, "tried again", user, failures=0)

    def extend(self, user: User, sweep_id: str, trials: int) -> Job:
        """Queue a sweep that succeeded for ``trials`` more.

        Raises:
            ForbiddenError: it is another user's.
            IllegalChangeError: it has not succeeded.
        """
        job = self._own_in(user, sweep_id, "extended", JobState.SUCCEEDED)
        cause, total = f"extended by {trials} trials", job.more_trials + trials
        return self._queue(sweep_id, cause, user, more_trials=total, failures=0)

    def _queue(self, sweep_id: str, cause: str, user: User, **columns: Any) -> Job:
        job = self.sweeps.change(sweep_id, JobState.QUEUED, cause, user.name, **columns)
        self.wake()
        return job

    def _own(self, user: User, sweep_id: str) -> Job:
        job = self.sweeps.get(sweep_id)
        require(user, RoleOfUser.USER)
        if job.owner != user.name and not user.role.covers(RoleOfUser.ADMIN):
            raise ForbiddenError(f"{sweep_id} is {job.owner}'s; only {job.owner} or an admin may")
        return job

    def _own_in(self, user: User, sweep_id: str, done: str, *states: JobState) -> Job:
        job = self._own(user, sweep_id)
        if job.state not in states:
            needed = " or ".join(states)
            raise IllegalChangeError(
                f"{sweep_id} is {job.state}; only what is {needed} can be {done}"
            )
        return job


def require(user: User, role: RoleOfUser) -> None:
    """See that a user may do what a role may.

    Raises:
        ForbiddenError: the user may not.
    """
    if not user.role.covers(role):
        raise ForbiddenError(f"{user.name} is a {user.role}; this takes a {role}")


def spec_from(text: bytes) -> Mapping[str, Any]:
    """A spec as it was sent, JSON or YAML.

    Raises:
        SpecError: it is neither, or no mapping.
    """
    try:
        raw = _loaded(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(
            "the spec", [Problem("", f"it is neither YAML nor JSON: {first}")]
        ) from None
    if not isinstance(raw, dict):
        raise SpecError("the spec", [Problem("", "it must hold keys and values")])
    return raw


def _loaded(text: bytes) -> Any:
    """JSON first: to YAML 1.1 ``1e-05``, as JSON is written, is a word and no number."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError:
        return yaml.load(text, _PlainLoader)  # a SafeLoader


def _no_number(word: str) -> float:
    raise yaml.YAMLError(f"{word} is no number of JSON's")


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few lines of them stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken, write them out")
        return super().compose_node(parent, index)


def _words(patterns: Sequence[str]) -> str:
    return ", ".join(patterns)
