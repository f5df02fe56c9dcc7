"""The service's own random keys, each made when it is first needed."""

from __future__ import annotations

import secrets

from service.server.store.database import Database, insert_new
from service.server.store.tables import KeyRow


def find_key(database: Database, name: str) -> bytes:
    """The key of a name; of several servers one makes it."""
    with database.writing() as session:
        insert_new(session, KeyRow, [{"name": name, "value": secrets.token_hex(32)}], ("name",))
        return bytes.fromhex(session.get_one(KeyRow, name).value)
