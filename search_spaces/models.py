"""What every model of a spec, and of a file that is read back, is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Frozen, and passes over keys it does not know: another version may have written them."""

    model_config = ConfigDict(frozen=True)


class Strict(Frozen):
    """Frozen, and refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid")
