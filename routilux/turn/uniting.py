"""What a handler gets of the messages of a set, by its slot's merge strategy.

Owns the making of one dict of several. Pure. Which messages are a set was decided before (`routilux.merging`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from routilux.errors import JoinError
from routilux.messages import Message, Payload
from routilux.model.merging import Batching
from routilux.turn.tables import Incoming, Receives


class Uniting:
    """What one slot makes of a set.

    Args:
        slot: the slot, which merges by a strategy by which a turn handles several messages.
        ways: mapping and label of its connections, by index.
    """

    def __init__(self, slot: Receives, ways: Mapping[int, Incoming]) -> None:
        self._slot = slot
        self._batching = slot.merge_strategy if isinstance(slot.merge_strategy, Batching) else None
        self._ways = ways

    def unite(self, members: Iterable[Message], decode: Callable[[Payload], dict[str, Any]]) -> dict[str, Any]:
        """Give what the handler is called with.

        Args:
            members: the messages of the set, in their order.
            decode: gives the data of a payload.

        Raises:
            JoinError: as `join_parameters`.
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


def join_parameters(
    slot: Receives, parts: Mapping[int, dict[str, Any]], ways: Mapping[int, Incoming]
) -> dict[str, Any]:
    """Give the parameters of all parts together, as far as the slot's handler can take them.

    Args:
        slot: the slot.
        parts: by connection, what came by it.
        ways: the connections.

    Raises:
        JoinError: two of them bring different values of one parameter.
    """
    wanted = None if slot.binding.takes_any else slot.binding.parameters
    joined: dict[str, Any] = {}
    origin: dict[str, int] = {}
    for edge, data in parts.items():
        for name, value in data.items():
            if wanted is not None and name not in wanted:
                continue
            if name in joined and not is_same(joined[name], value):
                both = f"{ways[origin[name]].label} and {ways[edge].label}"
                raise JoinError(
                    f"slot {slot.name!r} takes something of each of its connections, and {both} bring different values "
                    f"of {name!r}: map one of them to another name (param_mapping)"
                )
            joined[name] = value
            origin[name] = edge
    return joined


def is_same(one: object, other: object) -> bool:
    """Whether two values are one, as keys of a dict are: 1 and 1.0 too."""
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001  of arrays, for one, nobody can say in a word whether they are equal
        return False


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
