"""The record of a sweep's code in its folder: what ran, from which files, with which digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from service.base.errors import DamagedFileError
from service.base.files import write_atomically
from service.sweep.home import SweepFolder
from trainables.config.code_files import CodeFile, Origin


class RecordedFile(BaseModel):
    """The file of one module. ``origin`` is ``user``, ``installed`` or ``gapsweep``."""

    model_config = ConfigDict(frozen=True)

    module: str
    origin: str
    file: str
    sha256: str


class CodeRecord(BaseModel):
    """The code of a sweep's last session; ``bundle`` is the digest of an uploaded archive.

    ``digest`` stands for the user's own files: equal digests mean equal names and bytes.
    """

    model_config = ConfigDict(frozen=True)

    bundle: str | None
    digest: str | None
    files: tuple[RecordedFile, ...]

    @classmethod
    def of(cls, files: Sequence[CodeFile], bundle: str | None) -> CodeRecord:
        """The record of what a session has resolved."""
        own = [f for f in files if f.origin is Origin.USER and f.file]
        text = "".join(f"{f.module} {f.digest}\n" for f in own)
        made = (
            RecordedFile(module=f.module, origin=f.origin.value, file=f.file, sha256=f.digest)
            for f in files
            if f.file
        )
        digest = hashlib.sha256(text.encode()).hexdigest() if own else None
        return cls(bundle=bundle, digest=digest, files=tuple(made))

    def describe(self) -> str:
        """The user's own code in one line; empty if there is none."""
        own = [f.module for f in self.files if f.origin == Origin.USER.value]
        if self.digest is None:
            return ""
        bundle = f", bundle {self.bundle[:12]}" if self.bundle else ""
        return f"{', '.join(own)} (SHA-256 {self.digest[:12]}{bundle})"


def record_code(folder: SweepFolder, files: Sequence[CodeFile], bundle: str | None = None) -> None:
    """Write the record, in place of an earlier session's."""
    text = CodeRecord.of(files, bundle).model_dump_json(indent=2)
    write_atomically(folder.code, text + "\n")


def read_code(folder: SweepFolder) -> CodeRecord | None:
    """Read the record; None if there is none, as in folders of older versions.

    Raises:
        DamagedFileError: it cannot be read.
    """
    try:
        return CodeRecord.model_validate_json(folder.read(folder.code))
    except FileNotFoundError:
        return None
    except ValidationError:
        raise DamagedFileError(f"{folder.sweep_id}/code.json is not a record of code") from None
