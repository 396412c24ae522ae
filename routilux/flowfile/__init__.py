"""Flows as files that people write: TOML, YAML and JSON.

What a flow takes of it is below, and is loaded when the first file is read or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisors.deferred import deferred

if TYPE_CHECKING:
    from routilux.flowfile.form import fill_flow, tell_flow
    from routilux.flowfile.formats import read_content, write_content

__all__ = ["fill_flow", "read_content", "tell_flow", "write_content"]

__getattr__ = deferred(
    __name__,
    {"fill_flow": ".form", "read_content": ".formats", "tell_flow": ".form", "write_content": ".formats"},
)
