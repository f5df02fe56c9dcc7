"""Code of a user's is taken apart safely, whoever packed it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.base.errors import BundleError
from service.client.bundle_packing import digest, pack
from service.server.bundle_unpacking import BundleLimits, restore, unpack
from tests.archives import archive
from trainables.config.code_files import OWN_PACKAGES

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")  # that is what is tested


def everything_under(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def test_what_is_packed_comes_out_again_and_equal_files_have_one_name(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    (package / "parts").mkdir(parents=True)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "junk.pyc").write_bytes(b"x")
    (package / "__init__.py").write_text("answer = 42\n")
    (package / "parts" / "layer.py").write_text("width = 8\n")
    (tmp_path / "single.py").write_text("x = 1\n")
    packed = pack([package, tmp_path / "single.py"])
    assert packed == pack([package, tmp_path / "single.py"])
    assert unpack(packed, tmp_path / "bundles") == ("mine", "single")
    made = tmp_path / "bundles" / digest(packed)
    assert (made / "mine" / "parts" / "layer.py").read_text() == "width = 8\n"
    assert "mine/__pycache__" not in everything_under(made)
    assert unpack(packed, tmp_path / "bundles") == ("mine", "single")
    assert {p.name for p in (tmp_path / "bundles").iterdir()} == {
        digest(packed),
        f"{digest(packed)}.zip",
    }


def test_what_is_no_code_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n")
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "data.csv", "neither a folder nor a .py file"),
        (tmp_path / "empty", "no Python module"),
    ):
        with pytest.raises(BundleError, match=words):
            pack([path])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.py", "outside of the archive's folder"),
        ("mine/../../evil.py", "outside of the archive's folder"),
        ("/etc/evil.py", "outside of the archive's folder"),
        ("..\\evil.py", "outside of the archive's folder"),
        ("C:\\evil.py", "outside of the archive's folder"),
        ("mine/ev\nil.py", "not a valid file name"),
        ("x" * 300 + ".py", "cannot be written"),
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        unpack(archive(("mine.py", b""), (name, b"x")), tmp_path / "bundles")
    assert everything_under(tmp_path) <= {"bundles"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(BundleError, match="a link or a special file"):
        unpack(archive(("mine.py", b"/etc/passwd"), mode=kind | 0o777), tmp_path)
    assert not everything_under(tmp_path)


TAKEN = ["os", "json", "ray", "torch", "numpy", "pydantic", "mlflow", "google", "psutil"]
TAKEN += [
    "sitecustomize",
    "usercustomize",
    "__main__",
    "pytest",
    "_cffi_backend",
    "_distutils_hack",
]
FORMS = ["{}.py", "{}/__init__.py", "{}/deep/inside.py", "{}/data.csv", "{}/native.so"]


@pytest.mark.parametrize("name", [*OWN_PACKAGES, *TAKEN, "Torch", "JSON", "ｎｕｍｐｙ"])
@pytest.mark.parametrize("form", FORMS)
def test_a_module_that_would_stand_in_the_way_is_refused(
    tmp_path: Path, name: str, form: str
) -> None:
    with pytest.raises(BundleError, match=f"'{name}' would shadow"):
        unpack(archive(("fine.py", b""), (form.format(name), b"")), tmp_path)
    assert not everything_under(tmp_path)


@pytest.mark.parametrize("name", [*OWN_PACKAGES, *TAKEN])
def test_a_client_does_not_send_what_would_stand_in_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    with pytest.raises(BundleError, match=f"'{name}' would shadow"):
        pack([tmp_path / f"{name}.py"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evil.pth", "part of an environment"),
        ("evil-1.0.dist-info/entry_points.txt", "part of an environment"),
        ("evil.egg-info/top_level.txt", "part of an environment"),
        ("evil.egg-link", "part of an environment"),
        ("__pycache__/fine.cpython-311.pyc", "compiled Python"),
        ("fine/__pycache__/nets.cpython-311.pyc", "compiled Python"),
        ("fine/nets.pyc", "compiled Python"),
        ("torch.pyc", "compiled Python"),
        ("torch.so", "is a compiled module"),
        ("other.cpython-311-x86_64-linux-gnu.so", "is a compiled module"),
        ("no-name/inside.py", "not the name of a module"),
    ],
)
def test_what_changes_an_environment_or_hides_its_source_is_refused(
    tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(BundleError, match=words):
        unpack(archive(("fine.py", b""), (name, b"x")), tmp_path)
    assert not everything_under(tmp_path)


def test_a_compiled_module_inside_of_a_package_and_files_beside_it_are_taken(
    tmp_path: Path,
) -> None:
    made = archive(("fine/__init__.py", b""), ("fine/_fast.so", b"x"), ("README.md", b"x"))
    assert unpack(made, tmp_path) == ("fine",)


def test_bombs_stop_at_the_limit_whatever_their_headers_say(tmp_path: Path) -> None:
    limits = BundleLimits(packed=10_000, unpacked=100_000, files=3)
    bomb = archive(("mine.py", bytes(1_000_000)))
    assert len(bomb) < limits.packed
    with pytest.raises(BundleError, match="more than 100000 bytes unpacked"):
        unpack(bomb, tmp_path, limits)
    lying = bytearray(bomb)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(signature) + offset
        lying[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(BundleError):
        unpack(bytes(lying), tmp_path, limits)
    with pytest.raises(BundleError, match="20000 bytes; the limit is 10000 bytes"):
        unpack(bytes(20_000), tmp_path, limits)
    with pytest.raises(BundleError, match="4 files; the limit is 3"):
        unpack(archive(*((f"m{n}.py", b"") for n in range(4))), tmp_path, limits)
    assert not everything_under(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable zip archive"),
        (b"not a zip", "not a readable zip archive"),
        (archive(("mine.py", b"x"))[:-9], "not a readable zip archive"),
        (archive(("notes.txt", b"x")), "no Python module"),
        (archive(("mine.py", b"1"), ("MINE.py", b"2")), "duplicate file"),
        (archive(("straße.py", b"1"), ("STRASSE.py", b"2")), "duplicate file"),
        (archive(("\u00e9.py", b"1"), ("e\u0301.py", b"2")), "duplicate file"),
        (archive(("mine", b"1"), ("mine/a.py", b"2")), "a file and a folder"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        unpack(content, tmp_path)
    assert not everything_under(tmp_path)


def test_what_was_changed_in_the_home_is_unpacked_again_and_another_archive_is_refused(
    tmp_path: Path,
) -> None:
    made = archive(("fine/__init__.py", b"x = 1"), ("single.py", b"y = 1"))
    unpack(made, tmp_path)
    folder, kept = tmp_path / digest(made), tmp_path / f"{digest(made)}.zip"
    for change in (
        lambda: (folder / "fine" / "__init__.py").write_text("x = 2"),
        lambda: (folder / "fine" / "more.py").write_text("x = 2"),
        lambda: (folder / "single" / "__init__.py").unlink(),
        lambda: (folder / "link").symlink_to("/etc"),
        lambda: shutil.rmtree(folder),
    ):
        change()
        assert restore(tmp_path, digest(made)) == folder
        assert everything_under(folder) == {
            "fine",
            "fine/__init__.py",
            "single",
            "single/__init__.py",
        }
        assert (folder / "fine" / "__init__.py").read_text() == "x = 1"
    kept.write_bytes(archive(("fine/__init__.py", b"x = 2")))
    with pytest.raises(BundleError, match="was lost or changed; upload it again"):
        restore(tmp_path, digest(made))
    kept.unlink()
    with pytest.raises(BundleError, match="was lost or changed; upload it again"):
        restore(tmp_path, digest(made))
    unpack(made, tmp_path)
    assert restore(tmp_path, digest(made)) == folder


NAMES = st.text(st.sampled_from("ab./\\:~\0 -_é"), min_size=1, max_size=12)


@settings(max_examples=200)
@given(names=st.lists(NAMES, min_size=1, max_size=4), content=st.binary(max_size=20))
def test_whatever_the_names_are_nothing_leaves_the_folder(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    made = archive(("fine.py", b""), *((name, content) for name in names))
    try:
        unpack(made, folder / "bundles")
    except BundleError:
        assert everything_under(folder) <= {"bundles"}
    else:
        inside = f"bundles/{digest(made)}"
        found = everything_under(folder) - {"bundles", inside, f"{inside}.zip"}
        assert all(path.startswith(f"{inside}/") for path in found)


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_archive_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    damaged = bytearray(archive(("mine/__init__.py", b"x = 1"), ("mine/b.py", b"y = 2" * 50)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(bytes(damaged), folder)
    except BundleError:
        assert not everything_under(folder)
