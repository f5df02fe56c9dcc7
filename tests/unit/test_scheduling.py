"""Workers are given the tests in groups that share what takes long to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scheduling import group_of, place_of, workers

TESTS = Path(__file__).parents[1]
FILES = sorted(set(TESTS.rglob("test_*.py")) - {Path(__file__)})


def nodeid(file: Path) -> str:
    return f"{file.relative_to(TESTS.parent).as_posix()}::test_something[a-b::c]"


def test_files_that_use_the_shared_ray_are_one_group() -> None:
    users = [f for f in FILES if "shared_ray: Ray" in f.read_text() or "ran: Ran" in f.read_text()]
    assert len(users) > 5
    assert len({group_of(nodeid(file)) for file in users}) == 1


def test_all_of_docker_is_one_group_and_every_other_file_one_of_its_own() -> None:
    docker = [nodeid(f) for f in FILES if f.parent.name == "docker"]
    assert len(docker) > 1
    assert {group_of(test) for test in docker} == {"tests/docker/"}
    assert group_of("tests/unit/test_gap.py::TestX::test_y") == "tests/unit/test_gap.py"


def test_the_longest_are_begun_first_and_units_last() -> None:
    order = [f.parent.name for f in sorted(FILES, key=lambda file: place_of(nodeid(file)))]
    assert order[0] == "docker"
    assert order[-1] == "unit"
    assert set(order[order.index("unit") :]) == {"unit"}


@pytest.mark.parametrize(
    ("processors", "each", "and_one"), [(1, 1, 2), (2, 2, 3), (4, 4, 5), (64, 6, 6)]
)
def test_there_is_a_worker_for_each_processor_and_for_each_that_waits(
    monkeypatch: pytest.MonkeyPatch, processors: int, each: int, and_one: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert (workers(), workers(waiting=1)) == (each, and_one)
