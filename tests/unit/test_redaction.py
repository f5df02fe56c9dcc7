"""No secret in words and logs; what a service leaves for its drivers; its ports and versions."""

from __future__ import annotations

import logging
import os
import socket
import stat
import string
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url

from service.base.errors import HomeError, InputError
from service.base.ports import check_port, find_free_port
from service.base.redaction import RedactingFormatter, redact
from service.base.versions import describe_mismatch, get_installed_version, require_same_version
from service.server import driver_config
from service.server.driver_config import DriverConfig
from service.server.store.token_store import PREFIX
from service.sweep.home import Home, SweepFolder

TOKEN = f"{PREFIX}{'Ab3-_' * 8}xyz"


class TestRedaction:
    """Words without the secrets that were in them."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("postgresql+psycopg://ann:hunter2@host/name", "postgresql+psycopg://***@host/name"),
            ("http://token@host:80/x failed", "http://***@host:80/x failed"),
            ("'s3://key:secret@bucket' and ftp://a:b@c", "'s3://***@bucket' and ftp://***@c"),
            (f"the token {TOKEN} is not known", "the token gs_*** is not known"),
            (f"GAPSWEEP_TOKEN={TOKEN}\n", "GAPSWEEP_TOKEN=gs_***\n"),
            (f'{{"token": "{TOKEN}"}}', '{"token": "gs_***"}'),
            (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer gs_***"),
            ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln", "Authorization: Bearer ***"),
            ("authorization: basic YW5uOmh1bnRlcjI=", "authorization: basic ***"),
        ],
    )
    def test_secrets_are_taken_out_and_the_rest_stays(self, text: str, shown: str) -> None:
        assert redact(text) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "the database postgresql://host/name does not answer",
            "http://127.0.0.1:8080/v1/sweeps cannot be reached; write to ann@example.org",
            "space.lambda: must be above 0, got -1",
            "a sweep named gs_small",
        ],
    )
    def test_words_without_secrets_stay_as_they_are(self, text: str) -> None:
        assert redact(text) == text

    @pytest.mark.parametrize("password", ["pa/ss-word", "pa ss-word", "pa'ss-word", 'pa"ss-word'])
    def test_a_password_that_sqlalchemy_reads_does_not_survive(self, password: str) -> None:
        url = f"postgresql+psycopg://ann:{password}@host/name"
        assert make_url(url).password == password
        assert redact(f"({url})") == "(postgresql+psycopg://***@host/name)"

    @pytest.mark.parametrize("where", ["?password={}", "?user=ann&password={}&sslmode=require"])
    def test_a_password_in_an_urls_query_does_not_survive(self, where: str) -> None:
        url = "postgresql+psycopg://host/name" + where.format("hunter22")
        assert "hunter22" not in redact(f"the database {url} does not answer")

    @given(token=st.text(string.ascii_letters + string.digits + "-_", min_size=43, max_size=43))
    def test_no_token_of_ours_survives(self, token: str) -> None:
        for text in ("{}", "token={}", "'{}'", "Bearer {}", "http://host/?t={}&x=1", "{}\n"):
            assert token not in redact(text.format(PREFIX + token))

    def test_long_words_are_read_in_a_moment(self) -> None:
        began = time.perf_counter()
        redact("a" * 20_000)
        assert time.perf_counter() - began < 0.2

    def test_a_log_has_no_secrets_not_in_its_tracebacks_either(self) -> None:
        formatter = RedactingFormatter("%(levelname)s %(message)s")
        url = "postgresql://ann:hunter22@host/name"
        try:
            raise ValueError(f"{url} does not answer to {TOKEN}")
        except ValueError:
            facts = (url, sys.exc_info())
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "away: %s", (facts[0],), facts[1])
        line = formatter.format(record)
        assert line.startswith("ERROR away: postgresql://***@host/name\nTraceback")
        assert "ValueError: postgresql://***@host/name does not answer to gs_***" in line
        assert "hunter22" not in line
        assert TOKEN not in line


PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")


@given(password=st.text(PRINTABLE, min_size=1, max_size=20))
@example(password="correct horse")
@example(password="p@ss/word:?#[]'\"")
def test_no_password_of_a_database_survives_as_sqlalchemy_writes_it(password: str) -> None:
    url = URL.create("postgresql+psycopg", "ann", f"<{password}>", "host", 5432, "name")
    text = url.render_as_string(hide_password=False)
    shown = redact(f"the database '{text}' does not answer")
    assert shown == "the database 'postgresql+psycopg://***@host:5432/name' does not answer"


@given(password=st.text(min_size=1, max_size=20))
def test_no_password_survives_that_is_written_for_urls(password: str) -> None:
    url = f"http://ann:{quote(password, safe='', errors='replace')}@host/x"
    assert redact(f"{url} failed") == "http://***@host/x failed"


class TestHandover:
    """The file that a driver finds its service by."""

    LEFT = DriverConfig(
        version="1.2.3", api_url="http://api:8080", token="gs_sweep_1_ab_digits-1", mlflow_uri=None
    )

    @pytest.fixture
    def folder(self, tmp_path: Path) -> SweepFolder:
        return Home(tmp_path).sweep("digits-1")

    def test_what_is_left_is_its_owners_alone_and_taken_once(self, folder: SweepFolder) -> None:
        before = os.umask(0)
        try:
            driver_config.write(self.LEFT, folder)
        finally:
            os.umask(before)
        (file,) = folder.path.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert driver_config.take(folder) == self.LEFT
        assert list(folder.path.iterdir()) == []

    def test_the_newest_counts_and_one_that_others_could_read_is_not_kept(
        self, folder: SweepFolder
    ) -> None:
        driver_config.write(self.LEFT, folder)
        (file,) = folder.path.iterdir()
        file.chmod(0o644)
        newer = self.LEFT.model_copy(update={"mlflow_uri": "http://127.0.0.1:5000"})
        driver_config.write(newer, folder)
        assert [p.name for p in folder.path.iterdir()] == [file.name]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert driver_config.take(folder) == newer

    @pytest.mark.parametrize("content", [None, b"", b"{", b'{"version": "1"}', b"\xff\xfe"])
    def test_one_that_is_not_there_or_none_is_said_without_what_it_holds(
        self, folder: SweepFolder, content: bytes | None
    ) -> None:
        folder.path.mkdir(parents=True)
        if content is not None:
            (folder.path / "driver.json").write_bytes(content)
        with pytest.raises(HomeError, match=r"must share the home folder"):
            driver_config.take(folder)

    def test_a_token_of_a_sweep_is_redacted(self) -> None:
        token = f"gs_sweep_1_{'ab' * 32}_digits.mlp-1"
        assert "ab" not in redact(f"unknown {token}, gone")


class TestPorts:
    """Whether an address can be listened on."""

    def test_a_port_that_is_free_is_fine_and_one_that_is_taken_is_said(self) -> None:
        port = find_free_port()
        check_port("127.0.0.1", port)
        check_port("127.0.0.1", port)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            with pytest.raises(
                InputError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(.*--port"
            ):
                check_port("127.0.0.1", port)
        check_port("127.0.0.1", port)

    def test_an_address_of_another_machine_is_said_with_the_option_to_set(self) -> None:
        with pytest.raises(InputError, match=r"cannot listen on 192\.0\.2\.1:80 .*with --host"):
            check_port("192.0.2.1", 80, "--host")

    def test_free_ports_are_ports(self) -> None:
        assert 1024 <= find_free_port() <= 65_535


class TestVersions:
    """Two versions do not work together."""

    def test_the_same_version_is_fine(self) -> None:
        assert describe_mismatch(get_installed_version(), "the server", "this machine") is None
        require_same_version(get_installed_version(), "the server", "this machine")

    def test_another_is_refused_with_both_and_what_to_do(self) -> None:
        words = (
            f"this machine has gapsweep {get_installed_version()}, the server has 0.0.1; "
            "install the same version on both"
        )
        assert describe_mismatch("0.0.1", "the server", "this machine") == words
        with pytest.raises(InputError) as caught:
            require_same_version("0.0.1", "the server", "this machine")
        assert str(caught.value) == words
