"""What a handler gets of the messages of a set, by its slot's merge strategy.

Owns the making of one dict of several. Pure. Which messages are a set was decided before (`routilux.merging`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from routilux.errors import JoinError
from routilux.messages import Message, Payload
from routilux.model.merging import Batching, MergeStrategy
from routilux.turn.tables import Incoming


class Uniting:
    """What one slot makes of a set.

    Args:
        slot: the slot's name.
        strategy: its merge strategy, one by which a turn handles several messages.
        ways: mapping and label of its connections, by index.
    """

    def __init__(self, slot: str, strategy: MergeStrategy, ways: Mapping[int, Incoming]) -> None:
        self._slot = slot
        self._batching = strategy if isinstance(strategy, Batching) else None
        self._ways = ways

    def unite(self, members: Iterable[Message], decode: Callable[[Payload], dict[str, Any]]) -> dict[str, Any]:
        """Give what the handler is called with.

        Args:
            members: the messages of the set, in their order.
            decode: gives the data of a payload.

        Raises:
            JoinError: several of them have a parameter of the same name, and one value would be lost.
        """
        came = [(member.edge, rename(decode(member.payload), self._ways[member.edge].mapping)) for member in members]
        if self._batching is None:
            return join_parameters(self._slot, dict(came), self._ways)
        messages = [data for _edge, data in came]
        if self._batching.into is not None:
            return {self._batching.into: messages}
        return to_lists(messages)


def to_lists(messages: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Give a list for each parameter, as long as there are messages: None where one lacks it."""
    names = dict.fromkeys(name for data in messages for name in data)
    return {name: [data.get(name) for data in messages] for name in names}


def join_parameters(slot: str, parts: Mapping[int, dict[str, Any]], ways: Mapping[int, Incoming]) -> dict[str, Any]:
    """Give the parameters of all parts together.

    Args:
        slot: the slot's name.
        parts: by connection, what came by it.
        ways: the connections.

    Raises:
        JoinError: two of them have a parameter of the same name.
    """
    joined: dict[str, Any] = {}
    origin: dict[str, int] = {}
    for edge, data in parts.items():
        for name, value in data.items():
            if name in joined:
                both = f"{ways[origin[name]].label} and {ways[edge].label}"
                raise JoinError(
                    f"slot {slot!r} takes something of each of its connections, and both {both} bring {name!r}: "
                    "map one of them to another name (param_mapping)"
                )
            joined[name] = value
            origin[name] = edge
    return joined


def rename(data: dict[str, Any], mapping: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Give the parameters under their new names; of several that become one the last wins."""
    if not mapping:
        return data
    sources = {source for source, _target in mapping}
    renamed = {name: value for name, value in data.items() if name not in sources}
    for source, target in mapping:
        if source in data:
            renamed[target] = data[source]
    return renamed
