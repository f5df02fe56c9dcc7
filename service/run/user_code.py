"""The user's own modules: the folders they are in, and the files of those that a spec names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from service.spec.named_code import list_named
from trainables.config.code_files import CodeFile, Origin, find_code_files, list_user_folders
from trainables.config.code_policy import (
    CodePolicy,
    get_policy,
    leave_policy,
    load_named,
    restore_policy,
)
from trainables.errors import ContractError

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


@contextmanager
def use_folders(*folders: Path | str) -> Iterator[tuple[str, ...]]:
    """Import a user's modules from these folders first, and from no place that is not the user's.

    The user's are also the other entries of the path, but for those of an earlier call. The
    folders, without duplicates, stay on the path.
    """
    with restore_policy():
        leave_policy()
        paths = tuple(dict.fromkeys(str(f) for f in folders))
        CodePolicy(import_paths=paths, folders=list_user_folders()).enter()
        yield paths


def find_user_code(spec: SweepSpec, paths: Sequence[str]) -> list[Path]:
    """The folders from which workers import the user's own modules."""
    names = [name for module in spec.modules() for name in (module, f"{module}.py")]
    return [Path(p) for p in paths if any((Path(p) / name).exists() for name in names)]


def fingerprint_code(
    spec: SweepSpec, folders: Sequence[Path | str] | None = None
) -> tuple[CodeFile, ...]:
    """The files, with their digests, of the modules that a spec names and their parents.

    Of the user's own modules also those that these import. Nothing is imported to find them;
    modules that do not exist are left out. ``folders`` are those of the user's code (default:
    what the path has beyond Python and the installed packages).
    """
    modules = {path.partition(":")[0] for path in spec.import_paths()}
    return find_code_files(modules, list_user_folders() if folders is None else folders)


def pin_code(files: Sequence[CodeFile]) -> None:
    """Have this process's policy refuse other files of the user's than these as they are now."""
    digests = {f.module: f.digest for f in files if f.origin is Origin.USER and f.file}
    replace(get_policy(), digests=digests).enter()


def find_code_problems(spec: SweepSpec) -> Iterator[tuple[str, str]]:
    """Why this process's policy refuses what a spec names, as (key, message); calls none of it.

    Modules are imported if the policy allows them. What does not exist is not reported.
    """
    policy = get_policy()
    try:
        policy.check_bundle()
    except ContractError as error:
        yield "", str(error)
        return
    for where, path, kind in list_named(spec):
        try:
            if policy.allow:
                load_named(path, kind)
            else:
                policy.check_module(path.partition(":")[0])
        except ContractError as error:
            yield where, str(error)
    try:
        policy.check_arguments(spec)
    except ContractError as error:
        yield "", str(error)
