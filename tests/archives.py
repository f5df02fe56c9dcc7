"""Zip archives as nobody's packer would write them."""

from __future__ import annotations

import io
import zipfile


def archive(*files: tuple[str, bytes], mode: int = 0) -> bytes:
    """A zip with just these entries, whatever they are called."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            made.writestr(info, content)
    return buffer.getvalue()
