"""Users, and their tokens: who may, until when, and for what."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import text

from service.base.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    TokenNotFoundError,
    UserNotFoundError,
)
from service.server.store.database import Database, alembic_configuration
from service.server.store.token_store import MAX_TOKENS, PREFIX, TokenStore
from service.server.store.user_roles import TokenScope, UserRole
from service.server.store.user_store import UserStore
from tests.stores import Clock


@pytest.fixture
def tokens(database: Database, clock: Clock) -> TokenStore:
    return TokenStore(database, clock)


class TestUsers:
    """Who may."""

    def test_a_token_is_its_users_until_it_expires_or_is_revoked(
        self, users: UserStore, tokens: TokenStore, clock: Clock
    ) -> None:
        token = users.create_or_update("ann", UserRole.ADMIN, expires=clock.now + 10)
        assert token.startswith(PREFIX)
        found = tokens.find_caller(token)
        assert found is not None
        assert (found.name, found.role) == ("ann", UserRole.ADMIN)
        assert tokens.find_caller(token + "x") is None
        clock.now += 10
        assert tokens.find_caller(token) is None
        later = tokens.add("ann")[0]
        again = tokens.find_caller(later)
        assert again is not None
        assert (again.name, again.role, again.expires) == ("ann", UserRole.ADMIN, None)
        users.revoke("ann")
        assert tokens.find_caller(later) is None

    def test_the_token_itself_is_nowhere_in_the_database(
        self, users: UserStore, tokens: TokenStore, database: Database
    ) -> None:
        token = users.create_or_update("ann", UserRole.USER)
        with database.reading() as session:
            rows = session.execute(text("SELECT * FROM tokens")).all()
        assert len(rows) == 1
        assert token not in str(rows)

    def test_who_is_named_must_be_there(self, users: UserStore, tokens: TokenStore) -> None:
        users.create_or_update("ann", UserRole.USER)
        with pytest.raises(UserNotFoundError, match=r"unknown user 'bob'; known users: ann"):
            users.revoke("bob")
        with pytest.raises(UserNotFoundError):
            tokens.add("bob")

    def test_one_who_is_admitted_is_made_or_gets_one_token_more(
        self, users: UserStore, tokens: TokenStore, clock: Clock
    ) -> None:
        first = users.create_or_update("ann@example.org", UserRole.VIEWER)
        second = users.create_or_update("ann@example.org", UserRole.ADMIN, expires=clock.now + 10)
        assert first != second
        for token in (first, second):
            found = tokens.find_caller(token)
            assert found is not None
            assert (found.name, found.role) == ("ann@example.org", UserRole.ADMIN)
        clock.now += 10
        assert tokens.find_caller(second) is None
        assert tokens.find_caller(first) is not None
        assert len(users.all()) == 1

    def test_one_who_was_revoked_may_be_admitted_again_and_old_tokens_stay_revoked(
        self, users: UserStore, tokens: TokenStore
    ) -> None:
        old = users.create_or_update("ann", UserRole.ADMIN)
        users.revoke("ann")
        new = users.create_or_update("ann", UserRole.USER)
        assert tokens.find_caller(old) is None
        found = tokens.find_caller(new)
        assert found is not None
        assert (found.role, found.revoked) == (UserRole.USER, None)

    def test_renewing_a_users_token_takes_those_of_before_and_nobody_elses(
        self, users: UserStore, tokens: TokenStore
    ) -> None:
        mine = [users.rotate_tokens("ann", UserRole.ADMIN) for _ in range(3)]
        theirs = users.create_or_update("bob", UserRole.USER)
        mine.append(users.rotate_tokens("ann", UserRole.VIEWER))
        assert [tokens.find_caller(t) is not None for t in mine] == [False, False, False, True]
        found = tokens.find_caller(mine[-1])
        assert found is not None
        assert found.role is UserRole.VIEWER
        assert tokens.find_caller(theirs) is not None

    @pytest.mark.parametrize("name", ["", "-ann", ".", "ann bob", "ann\n", "a/b", "a" * 65, "a\0"])
    def test_what_is_no_name_is_refused(
        self, users: UserStore, tokens: TokenStore, name: str
    ) -> None:
        with pytest.raises(InputError, match="invalid user name"):
            users.create_or_update(name, UserRole.USER)
        assert users.all() == ()
        assert tokens.find_caller(users.create_or_update("a" * 64, UserRole.USER)) is not None

    def test_roles_cover_those_below(self) -> None:
        assert UserRole.ADMIN.covers(UserRole.VIEWER)
        assert UserRole.USER.covers(UserRole.USER)
        assert not UserRole.VIEWER.covers(UserRole.USER)


class TestTokens:
    """Several of one user, each by its name."""

    def test_a_user_has_several_that_are_listed_by_name_and_revoked_one_by_one(
        self, users: UserStore, tokens: TokenStore
    ) -> None:
        first = users.create_or_update("ann", UserRole.USER)
        second, made = tokens.add("ann", "laptop", TokenScope.READ, expires=2000.0)
        third, _ = tokens.add("ann")
        assert (made.name, made.scope, made.expires) == ("laptop", TokenScope.READ, 2000.0)
        assert [(t.name, t.scope) for t in tokens.of_user("ann")] == [
            ("default", TokenScope.SUBMIT),
            ("laptop", TokenScope.READ),
            ("default-2", TokenScope.SUBMIT),
        ]
        tokens.revoke("ann", "laptop")
        valid = [tokens.find_caller(t) is not None for t in (first, second, third)]
        assert valid == [True, False, True]
        assert [t.name for t in tokens.of_user("ann")] == ["default", "default-2"]
        with pytest.raises(TokenNotFoundError, match=r"no token 'laptop'.*default, default-2"):
            tokens.revoke("ann", "laptop")

    def test_a_name_is_free_again_when_its_token_has_ended(
        self, users: UserStore, tokens: TokenStore, clock: Clock
    ) -> None:
        users.create_or_update("ann", UserRole.USER, expires=clock.now + 10)
        users.create_or_update("bob", UserRole.USER)
        with pytest.raises(ConflictError, match="ann has a token 'default' already"):
            tokens.add("ann", "default")
        clock.now += 10
        again, _ = tokens.add("ann", "default")
        tokens.revoke("ann", "default")
        last, _ = tokens.add("ann", "default")
        assert tokens.find_caller(again) is None
        assert tokens.find_caller(last) is not None
        assert len(tokens.of_user("ann")) == 1

    def test_a_scope_is_at_most_the_users_role_also_when_that_is_lowered_later(
        self, users: UserStore, tokens: TokenStore
    ) -> None:
        users.create_or_update("vic", UserRole.VIEWER)
        with pytest.raises(ForbiddenError, match=r"vic is a viewer.*at most scope read"):
            tokens.add("vic", "more", TokenScope.SUBMIT)
        token = users.create_or_update("ann", UserRole.ADMIN)
        reading, _ = tokens.add("ann", "reading", TokenScope.READ)
        rights = [c.rights for t in (token, reading) if (c := tokens.find_caller(t))]
        assert rights == [UserRole.ADMIN, UserRole.VIEWER]
        users.create_or_update("ann", UserRole.USER)
        caller = tokens.find_caller(token)
        assert caller is not None
        assert caller.rights is UserRole.USER

    def test_why_a_token_is_not_valid_is_explained(
        self, users: UserStore, tokens: TokenStore, clock: Clock
    ) -> None:
        expired = users.create_or_update("ann", UserRole.USER, expires=clock.now + 10)
        revoked, _ = tokens.add("ann", "laptop")
        tokens.revoke("ann", "laptop")
        clock.now += 10
        assert tokens.explain("gs_nobody") == (None, "it is unknown")
        found, why = tokens.explain(expired)
        assert found is not None
        assert (found.name, why) == ("default", "it expired on 1970-01-01 00:16 UTC")
        assert tokens.explain(revoked)[1] == "it was revoked"

    def test_the_last_use_is_kept(self, users: UserStore, tokens: TokenStore) -> None:
        users.create_or_update("ann", UserRole.USER)
        assert tokens.get("ann", "default").last_used is None
        tokens.mark_used("ann", "default", 1234.5, "10.0.0.7")
        found = tokens.get("ann", "default")
        assert (found.last_used, found.last_address) == (1234.5, "10.0.0.7")

    def test_there_is_a_most_of_one_user(self, users: UserStore, tokens: TokenStore) -> None:
        users.create_or_update("ann", UserRole.USER)
        for _ in range(MAX_TOKENS - 1):
            tokens.add("ann")
        with pytest.raises(ConflictError, match=f"ann has {MAX_TOKENS} tokens"):
            tokens.add("ann")

    @pytest.mark.parametrize("name", ["", "-x", "my token", "a" * 65, "a\n", "é"])
    def test_what_is_no_name_is_refused(
        self, users: UserStore, tokens: TokenStore, name: str
    ) -> None:
        users.create_or_update("ann", UserRole.USER)
        with pytest.raises(InputError, match="invalid token name"):
            tokens.add("ann", name)

    def test_tokens_of_older_versions_keep_their_ends_and_get_names_and_scopes(
        self, empty: Database, clock: Clock
    ) -> None:
        with empty.connecting() as connection:
            command.upgrade(alembic_configuration(connection), "0007")
            for statement in (
                "INSERT INTO users (name, role, created) VALUES ('ann', 'admin', 1.0)",
                "INSERT INTO users (name, role, created) VALUES ('vic', 'viewer', 1.0)",
                'INSERT INTO tokens ("user", digest, created, expires, revoked) VALUES '
                "('ann', 'a', 1.0, NULL, 5.0), ('ann', 'b', 1.0, 3000.0, NULL), "
                "('ann', 'c', 1.0, NULL, NULL), ('vic', 'd', 1.0, NULL, NULL)",
            ):
                connection.exec_driver_sql(statement)
        empty.upgrade()
        tokens = TokenStore(empty, clock)
        assert [(t.name, t.scope, t.expires) for t in tokens.of_user("ann")] == [
            ("default", TokenScope.ADMIN, 3000.0),
            ("default-2", TokenScope.ADMIN, None),
        ]
        (vics,) = tokens.of_user("vic")
        assert (vics.name, vics.scope, vics.last_used) == ("default", TokenScope.READ, None)
