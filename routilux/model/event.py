"""An event: what a routine emits.

Owns the event's name and its declared parameters. Never knows who is connected to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from routilux.model.names import checked_name, checked_names


@dataclass(frozen=True, slots=True)
class Event:
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
