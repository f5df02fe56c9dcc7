"""Records of users' code: digest, owner, modules. The files are in the home folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import update

from service.base.errors import BundleNotFoundError
from service.server.store.database import Database, insert_new
from service.server.store.job_records import Bundle
from service.server.store.tables import BundleRow


class BundleStore:
    """The bundles of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def add(self, digest: str, owner: str, size: int, modules: Sequence[str]) -> Bundle:
        """Record a bundle; one that was uploaded before keeps its first owner.

        Its time is that of the last upload: unused bundles are deleted some days after it.
        """
        row = {
            "digest": digest,
            "owner": owner,
            "created": self._clock(),
            "size": size,
            "modules": list(modules),
        }
        with self._database.writing() as session:
            insert_new(session, BundleRow, [row], ["digest"])
            mine = BundleRow.digest == digest
            session.execute(update(BundleRow).where(mine).values(created=row["created"]))
        return self.get(digest)

    def get(self, digest: str) -> Bundle:
        """One bundle.

        Raises:
            BundleNotFoundError: no bundle with this digest was uploaded.
        """
        with self._database.reading() as session:
            row = session.get(BundleRow, digest)
        if row is None:
            raise BundleNotFoundError(f"no bundle {digest!r}; upload it first")
        return Bundle(digest=row.digest, owner=row.owner, size=row.size, modules=tuple(row.modules))
