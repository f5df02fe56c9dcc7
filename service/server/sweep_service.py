"""Everything a user can do with the service; users' rights and sweeps' states are checked here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.base.errors import (
    ForbiddenError,
    IllegalTransitionError,
    InputError,
    Problem,
    SpecError,
)
from service.client.audit_actions import AuditAction
from service.client.bundle_packing import digest
from service.client.job_states import JobState, RequestedAction
from service.server.account_service import AccountService
from service.server.audit_counter import AuditCounter
from service.server.bundle_unpacking import BundleLimits, restore, unpack
from service.server.requested_ranges import widen_job
from service.server.rights import require_role
from service.server.store.audit_store import AuditStore
from service.server.store.bundle_store import BundleStore
from service.server.store.callers import Caller
from service.server.store.cost_store import CostStore
from service.server.store.database import Database
from service.server.store.deletion_store import DeletionStore
from service.server.store.job_records import Bundle, Job, Submission
from service.server.store.progress_store import ProgressStore
from service.server.store.service_tokens import ServiceTokens
from service.server.store.storage_store import StorageStore
from service.server.store.sweep_store import SweepStore
from service.server.store.sweep_tokens import SweepTokens
from service.server.store.token_store import TokenStore
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.server.user_limits import UserLimits, check_queued, check_stored
from service.spec.external import refuse_external
from service.spec.file import dump_spec, parse_spec
from service.spec.model import SweepSpec
from service.spec.named_code import check_texts
from service.sweep.home import Home
from trainables.config.code_policy import CodePolicy
from trainables.errors import ContractError

MAX_PRIORITY = 100
MAX_MORE_TRIALS = 100_000
"""Of all extensions of a sweep together."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings of a service.

    ``home`` is the data directory that the cluster's nodes share. ``trainables`` are patterns of
    the import paths that specs may name; without patterns, a user who may submit can run any code.
    With patterns, bundles are refused and data are read from the home's ``data`` folder only.
    """

    database_url: str
    home: Path
    trainables: tuple[str, ...] = ()
    bundles: BundleLimits = field(default_factory=BundleLimits)
    limits: UserLimits = field(default_factory=UserLimits)

    @property
    def data(self) -> Path:
        """The folder that relative paths in specs start from."""
        return Home(self.home).data


class SweepService:
    """The service without its network interface and without its cluster."""

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.users, self.sweeps = UserStore(database), SweepStore(database)
        self.progress, self.bundles = ProgressStore(database), BundleStore(database)
        self.deletions, self.storage = DeletionStore(database), StorageStore(database)
        self.sweep_tokens, self.service_tokens = SweepTokens(database), ServiceTokens(database)
        self.tokens, self.audit = TokenStore(database), AuditStore(database)
        self.costs = CostStore(database)
        self.audit_counter = AuditCounter(self.audit, self.tokens)
        self.accounts = AccountService(database, self.audit)
        self.wake: Callable[[], None] = lambda: None
        """Called when a sweep may now be started or stopped."""
        self.wake_upkeep: Callable[[], None] = lambda: None
        """Called when a sweep is to be deleted."""

    def check(self, raw: Mapping[str, Any]) -> SweepSpec:
        """Validate a spec; it is returned as the service would run it.

        Raises:
            SpecError, ForbiddenError: as :meth:`_read`.
        """
        return self._read(raw)[0]

    def _read(self, raw: Mapping[str, Any]) -> tuple[SweepSpec, str]:
        """A validated spec, and its text as it is stored.

        Raises:
            SpecError: the spec is invalid, names a file on the sender's machine, or asks for
                trials in its own process.
            ForbiddenError: the settings do not allow one of its import paths or its data.
        """
        space = raw.get("space")
        if isinstance(space, Mapping) and "file" in space:
            words = "the server has no access to this file; write the space into the spec"
            raise SpecError("the spec", [Problem("space.file", words)])
        try:
            spec = parse_spec(raw, "the spec", self.settings.data)
            text = dump_spec(spec)
            spec.model_dump_json()
        except (ValueError, RecursionError) as error:  # valid YAML with unusable values
            raise SpecError("the spec", [Problem("", f"cannot be read: {error}")]) from None
        refuse_external(spec, "the spec")
        if spec.resources.executor == "local":
            words = "a server runs trials on its Ray cluster; set it to ray, or leave it out"
            raise SpecError("the spec", [Problem("resources.executor", words)])
        if self.settings.trainables:
            self._check_allowed(spec)
        return spec, text

    def _check_allowed(self, spec: SweepSpec) -> None:
        """Check texts only: the sweep's processes check the objects before they use them."""
        try:
            check_texts(spec, CodePolicy(allow=self.settings.trainables))
        except ContractError as error:
            raise ForbiddenError(str(error)) from None
        for file in spec.data.paths if spec.data else ():
            if not file.is_relative_to(self.settings.data.resolve()):
                words = "it reads data from its home folder only"
                raise ForbiddenError(f"data: this server does not allow {file}; {words}")

    def submit(
        self,
        caller: Caller,
        raw: Mapping[str, Any],
        *,
        priority: int = 0,
        after: Sequence[str] = (),
        bundle: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a sweep, or return the one that the user submitted with the same key.

        Raises:
            SpecError: as :meth:`check`.
            ForbiddenError: as :meth:`check`, or the user is a viewer.
            SweepNotFoundError: ``after`` names a sweep that does not exist.
            BundleNotFoundError: the bundle was not uploaded.
            IdempotencyError: the key was used for another submission.
            LimitReachedError: the user has too many queued sweeps or too much stored.
        """
        require_role(caller, UserRole.USER)
        self._check_stored(caller.name)
        spec, text = self._read(raw)
        if bundle is not None:
            self.bundles.get(bundle)
        asked = Submission(
            sweep_id=f"{spec.name}-{secrets.token_hex(4)}",
            name=spec.name,
            owner=caller.name,
            spec=text,
            priority=priority,
            after=tuple(after),
            bundle=bundle,
            idempotency_key=idempotency_key,
        )
        with self.database.transaction():
            job = self.sweeps.submit(asked)
            if job.sweep_id == asked.sweep_id:  # else it was submitted before
                self._check_queue(job.owner)
                self.audit.record(caller.actor, AuditAction.SWEEP_SUBMIT, sweep=job.sweep_id)
        self.wake()
        return job

    def add_bundle(self, caller: Caller, archive: bytes) -> Bundle:
        """Unpack a user's code into the home folder, for sweeps that name its digest.

        Raises:
            ForbiddenError: the user is a viewer, or this server does not accept users' code.
            BundleError: the archive is invalid.
            LimitReachedError: the user has too much stored.
        """
        require_role(caller, UserRole.USER)
        self._check_stored(caller.name, len(archive))
        if self.settings.trainables:
            allowed = ", ".join(self.settings.trainables)
            raise ForbiddenError(f"this server does not accept users' code; allowed: {allowed}")
        modules = unpack(archive, Home(self.settings.home).bundles, self.settings.bundles)
        name = digest(archive)
        detail = f"{name}: {', '.join(modules)}"
        with self.audit.recording(caller.actor, AuditAction.BUNDLE_UPLOAD, detail=detail):
            return self.bundles.add(name, caller.name, len(archive), modules)

    def find_modules(self, job: Job) -> tuple[Path, ...]:
        """The folders of the packages in a sweep's bundle, as they were uploaded.

        Raises:
            BundleNotFoundError: no bundle of that digest was uploaded.
            BundleError: its archive is gone or is another one.
        """
        if job.bundle is None:
            return ()
        modules = self.bundles.get(job.bundle).modules
        folder = restore(Home(self.settings.home).bundles, job.bundle, self.settings.bundles)
        return tuple(folder / name for name in modules)

    def cancel(self, caller: Caller, sweep_id: str) -> Job:
        """Cancel a sweep; its finished trials stay.

        Raises:
            ForbiddenError: the sweep is another user's.
            IllegalTransitionError: the sweep has ended already.
        """
        job = self._get_own(caller, sweep_id)
        with self.audit.recording(caller.actor, AuditAction.SWEEP_CANCEL, sweep=sweep_id):
            if job.state.is_active:
                return self.sweeps.request(sweep_id, RequestedAction.CANCEL, caller.name)
            return self.sweeps.change(sweep_id, JobState.CANCELLED, "cancelled", caller.name)

    def pause(self, caller: Caller, sweep_id: str) -> Job:
        """Pause a sweep until it is resumed.

        Raises:
            ForbiddenError: the sweep is another user's.
            IllegalTransitionError: the sweep has ended or is paused already.
        """
        job = self._get_own(caller, sweep_id)
        with self.audit.recording(caller.actor, AuditAction.SWEEP_PAUSE, sweep=sweep_id):
            if job.state.is_active:
                return self.sweeps.request(sweep_id, RequestedAction.PAUSE, caller.name)
            return self.sweeps.change(sweep_id, JobState.PAUSED, "paused", caller.name)

    def resume(
        self,
        caller: Caller,
        sweep_id: str,
        *,
        widen: Sequence[str] = (),
        accept_changes: bool = False,
    ) -> Job:
        """Queue a paused sweep again, with ``accept_changes`` on other data, code or libraries too.

        With ``widen`` it samples wider ranges, see :func:`service.spec.widened.read_widenings`.

        Raises:
            ForbiddenError: the sweep is another user's.
            IllegalTransitionError: the sweep is not paused.
            InputError: a range cannot be widened so.
        """
        job = self._get_own_in(caller, sweep_id, "resumed", JobState.PAUSED)
        done = (caller, AuditAction.SWEEP_RESUME, "resumed")
        return self._widen_and_queue(job, *done, widen, accept_changes)

    def retry(self, caller: Caller, sweep_id: str, *, accept_changes: bool = False) -> Job:
        """Queue a failed or cancelled sweep again; it continues where it stopped.

        Raises:
            ForbiddenError: the sweep is another user's.
            IllegalTransitionError: the sweep has neither failed nor been cancelled.
        """
        self._get_own_in(caller, sweep_id, "retried", JobState.FAILED, JobState.CANCELLED)
        done = (caller, AuditAction.SWEEP_RETRY, "retried")
        return self._queue(sweep_id, *done, accept_changes, failures=0)

    def extend(
        self,
        caller: Caller,
        sweep_id: str,
        trials: int,
        *,
        widen: Sequence[str] = (),
        accept_changes: bool = False,
    ) -> Job:
        """Queue a sweep that succeeded for ``trials`` more trials, as :meth:`resume`.

        Raises:
            ForbiddenError: the sweep is another user's.
            IllegalTransitionError: the sweep has not succeeded.
            InputError: it would have been extended by too many trials in all, or a range cannot be
                widened so.
        """
        job = self._get_own_in(caller, sweep_id, "extended", JobState.SUCCEEDED)
        total = job.more_trials + trials
        if total > MAX_MORE_TRIALS:
            raise InputError(
                f"{sweep_id} can be extended by at most {MAX_MORE_TRIALS:,} trials in all, of "
                f"which it has {job.more_trials:,}; submit a new sweep"
            )
        done = (caller, AuditAction.SWEEP_EXTEND, f"extended by {trials} trials")
        return self._widen_and_queue(
            job, *done, widen, accept_changes, more_trials=total, failures=0
        )

    def delete(self, caller: Caller, sweep_id: str) -> Job:
        """Mark a sweep that has ended as being deleted: its folder, its runs and its rows.

        Raises:
            ForbiddenError: the sweep is another user's.
            SweepNotFoundError: no sweep has this id, or it is being deleted already.
            IllegalTransitionError: the sweep has not ended.
            ConflictError: other sweeps wait for it.
        """
        self._get_own(caller, sweep_id)
        with self.audit.recording(caller.actor, AuditAction.SWEEP_DELETE, sweep=sweep_id):
            job = self.deletions.mark(sweep_id, caller.name, "deleted")
        self.wake_upkeep()
        return job

    def _widen_and_queue(
        self,
        job: Job,
        caller: Caller,
        action: AuditAction,
        cause: str,
        widen: Sequence[str],
        accept_changes: bool,
        **columns: Any,
    ) -> Job:
        if widen:
            home = Home(self.settings.home)
            columns["wider"] = widen_job(job, widen, home, self.settings.data)
            cause += f", wider: {', '.join(widen)}"
        return self._queue(job.sweep_id, caller, action, cause, accept_changes, **columns)

    def _queue(
        self,
        sweep_id: str,
        caller: Caller,
        action: AuditAction,
        cause: str,
        accept_changes: bool,
        **columns: Any,
    ) -> Job:
        columns["accept_changes"] = accept_changes
        cause += ", changes accepted" if accept_changes else ""
        with self.audit.recording(caller.actor, action, sweep=sweep_id, detail=cause):
            job = self.sweeps.change(sweep_id, JobState.QUEUED, cause, caller.name, **columns)
            self._check_queue(job.owner)
            self._check_stored(job.owner)
        self.wake()
        return job

    def _check_queue(self, owner: str) -> None:
        """Check, after one more sweep was queued, that it is not one too many.

        Raises:
            LimitReachedError: it is.
        """
        count = self.sweeps.count_of(owner)[JobState.QUEUED]
        check_queued(owner, count - 1, self.settings.limits)

    def _check_stored(self, owner: str, more: int = 0) -> None:
        check_stored(owner, self.storage.stored_bytes_of(owner), self.settings.limits, more)

    def _get_own(self, caller: Caller, sweep_id: str) -> Job:
        """A sweep that the user may change."""
        job = self.sweeps.get(sweep_id)
        require_role(caller, UserRole.USER)
        if job.owner == caller.name:
            return job
        if not caller.role.covers(UserRole.ADMIN):
            raise ForbiddenError(
                f"{sweep_id} belongs to {job.owner}; only {job.owner} or an admin can change it"
            )
        require_role(caller, UserRole.ADMIN)
        return job

    def _get_own_in(self, caller: Caller, sweep_id: str, done: str, *states: JobState) -> Job:
        job = self._get_own(caller, sweep_id)
        if job.state not in states:
            needed = " or ".join(states)
            raise IllegalTransitionError(
                f"{sweep_id} is {job.state}; only a {needed} sweep can be {done}"
            )
        return job
