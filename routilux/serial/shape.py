"""What is told of a registered class without it: its version and its fields."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class TypeShape(msgspec.Struct, frozen=True):
    """A registered type, as it was: its version and its fields."""

    version: Annotated[int, Meta(ge=1)]
    fields: list[str]
