"""A connection: the way from an event to a slot, with its parameter mapping.

Owns the names of both ends. Never checks them (see `graph`), never moves a message.
"""

from __future__ import annotations

from routilux.serial.naming import built_in
from routilux.serial.serializable import SerializableStruct


@built_in.register("routilux.Connection")
class Connection(SerializableStruct, frozen=True):
    """One way from an event to a slot.

    Args:
        source_id: id of the routine that emits.
        event: name of its event.
        target_id: id of the routine that receives.
        slot: name of its slot.
        param_mapping: parameters of the event that get another name in the slot; the others keep
            theirs. Of several that become the same one, the last wins.
    """

    source_id: str
    event: str
    target_id: str
    slot: str
    param_mapping: dict[str, str]

    def __repr__(self) -> str:
        mapping = ", ".join(f"{source}={target}" for source, target in self.param_mapping.items())
        return f"<Connection {self}{f' ({mapping})' if mapping else ''}>"

    def __str__(self) -> str:
        return f"{self.source_id}.{self.event} -> {self.target_id}.{self.slot}"
