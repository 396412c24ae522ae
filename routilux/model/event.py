"""An event: what a routine emits.

Owns the event's name and its declared parameters. Never knows who is connected to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
        params: names of the parameters it carries, kept as a tuple; or a dict that gives each the type it is
            declared as. Declared parameters are checked when the flow is wired, and their types by `Flow.check`;
            without any, everything may be emitted and nothing is checked.

    Raises:
        InvalidNameError: a name that cannot be one, or a parameter named twice.
    """

    name: str
    params: Iterable[str] | Mapping[str, Any] = ()
    types: Mapping[str, Any] = field(init=False, default_factory=dict, compare=False)
    """The types that parameters are declared as, by name; none for a parameter that has none."""

    def __post_init__(self) -> None:
        checked_name(self.name, "an event")
        if isinstance(self.params, Mapping):
            object.__setattr__(self, "types", dict(self.params))
            object.__setattr__(self, "params", tuple(self.params))
        names = checked_names(self.params, f"parameters of event {self.name!r}")
        object.__setattr__(self, "params", names)

    @property
    def declared(self) -> Iterable[str] | Mapping[str, Any]:
        """The parameters as another event like this is made with."""
        return {name: self.types.get(name, Any) for name in self.params} if self.types else self.params

    def _take_fields(self) -> dict[str, Any]:
        params = list(self.params)
        return {"name": self.name, "params": params} | ({"types": dict(self.types)} if self.types else {})

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        types = fields.pop("types", {})
        type(self).__init__(self, **fields)
        object.__setattr__(self, "types", {name: types[name] for name in self.params if name in types})
