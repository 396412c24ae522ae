"""An event: what a routine emits.

Owns the event's name and its declared parameters. Never knows who is connected to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from routilux.model.names import checked_name, checked_names
from routilux.serial.naming import built_in
from routilux.serial.serializable import Serializable


@built_in.register("routilux.Event")
@dataclass(frozen=True, slots=True)
class Event(Serializable):
    """Something a routine emits.

    Args:
        name: unique in its routine.
        params: names of the parameters it carries, kept as a tuple. Declared parameters are checked
            when the flow is wired; without any, everything may be emitted and nothing is checked.

    Raises:
        InvalidNameError: a name that cannot be one, or a parameter named twice.
    """

    name: str
    params: Iterable[str] = ()

    def __post_init__(self) -> None:
        checked_name(self.name, "an event")
        object.__setattr__(self, "params", checked_names(self.params, f"parameters of event {self.name!r}"))

    def _take_fields(self) -> dict[str, Any]:
        return {"name": self.name, "params": list(self.params)}

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        type(self).__init__(self, **fields)
