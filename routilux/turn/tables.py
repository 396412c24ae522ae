"""What a turn must know of the flow around it: the ways in and out of one routine, compiled.

Owns the two rows of these tables and the shape a routine must have to be run. Never routes a
message (see `ledger`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from routilux.model.merging import MergeStrategy


class Incoming(NamedTuple):
    """One way in.

    Args:
        slot: name of the slot; empty for the routine's entry.
        mapping: pairs of (parameter that comes, parameter it becomes); the others keep their names.
        label: how people read it.
        from_outside: whether it comes from outside of the flow: no join waits for it.
    """

    slot: str
    mapping: tuple[tuple[str, str], ...]
    label: str = ""
    from_outside: bool = False


class Outgoing(NamedTuple):
    """One event.

    Args:
        event: its name.
        by_reference: whether a thread or an output receives it.
        encoded: whether a process receives it.
        keys: for each connection the names under which it carries the key its receiver is partitioned by
            (`partitioning.names_of`), none where that is not; empty where no receiver is.
    """

    event: str
    by_reference: bool
    encoded: bool
    keys: tuple[tuple[str, ...], ...] = ()


class Binds(Protocol):
    """How a handler takes its data."""

    def positions_renamed(self, mapping: tuple[tuple[str, str], ...]) -> tuple[str, ...] | None:
        """Give the names under which a handler's arguments come, by position; None where `bind` has to be asked.

        Args:
            mapping: pairs of (name that comes, name it becomes).
        """

    @property
    def is_async(self) -> bool:
        """Whether the handler gives a coroutine or an asynchronous generator."""

    @property
    def takes_any(self) -> bool:
        """Whether data with other names than `parameters` reaches the handler too."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that data may fill."""

    def bind(self, data: dict[str, Any]) -> tuple[Iterable[Any], Mapping[str, Any]]:
        """Turn what came into positional and named arguments."""


class Receives(Protocol):
    """A slot, as far as a turn needs it."""

    @property
    def name(self) -> str:
        """Its name in the routine."""

    @property
    def handler(self) -> Callable[..., Any]:
        """What is called with the bound data."""

    @property
    def merge_strategy(self) -> MergeStrategy:
        """How it gathers what comes."""

    @property
    def binding(self) -> Binds:
        """How its handler takes the data."""


class Runs(Protocol):
    """A routine, as far as a turn needs it."""

    @property
    def slots(self) -> Mapping[str, Receives]:
        """Its slots by name."""

    @property
    def state(self) -> Any:
        """What its state begins with."""

    @property
    def state_type(self) -> type | None:
        """Class of a declared state that is one object; None for a dict."""

    @property
    def state_policy(self) -> str:
        """How its state is kept, see `routilux.model.state_policy`."""

    @property
    def initial_stats(self) -> Mapping[str, int | float]:
        """The numbers that its jobs begin with."""

    def entry_slot(self) -> Receives:
        """The slot that takes messages from outside."""
