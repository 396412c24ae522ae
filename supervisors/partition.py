"""A pool: the same child several times, and which of them a message goes to.

Owns the partitions, numbered from 0, and their number. Routing itself is pure and is done by who
sends (`PartitionRouter`), so that no message passes through the supervisor. It follows Elixir's
`PartitionSupervisor`, with routes of its own: in turns, to the least busy, by key, to all.

By key is rendezvous hashing (Thaler and Ravishankar, 1998): each partition is weighed by a hash of
key and number, the heaviest wins. When the pool grows or shrinks, only the keys move that must:
those that the new partitions win, or those of the ones that are gone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from supervisors.behavior import Context
from supervisors.calls import DeleteChild, Reconfigure, StartChild, defer_to
from supervisors.children import Child, ChildState
from supervisors.errors import SpecError
from supervisors.policy import Intensity
from supervisors.rounds import Round
from supervisors.spec import ChildSpec
from supervisors.supervisor import Supervisor

Routing = Literal["round_robin", "least_busy"]
"""How a message without a key finds its partition."""


class Resize(NamedTuple):
    """Have so many partitions."""

    partitions: int


class GetPartitions(NamedTuple):
    """Give the children, in the order of their numbers."""


class PartitionSupervisor(Supervisor):
    """Keeps several children of one kind running, numbered from 0.

    To be started by `pool.start_pool`, or as a child of another supervisor.

    Args:
        template: how a partition is started; its id is the template's, a dash and its number.
        partitions: how many there are at first.
        with_number: the argument by which a partition is told its number; None: it is not told.
        intensity: how many restarts there may be, of all partitions together; None: 3 in 5 seconds
            for each partition.

    Raises:
        SpecError: an option has a value that it cannot have.
    """

    def __init__(
        self,
        template: ChildSpec,
        partitions: int,
        *,
        with_number: str | None = None,
        intensity: Intensity | None = None,
    ) -> None:
        if not isinstance(template, ChildSpec):
            raise SpecError(f"template: expected a ChildSpec, got {template!r}")
        if template.restart == "temporary":
            # It would be forgotten at its end, and all behind it would change their numbers.
            raise SpecError("template: restart: expected 'permanent' or 'transient' for a partition, got 'temporary'")
        self._template = template
        self._with_number = with_number
        self._is_scaled = intensity is None
        count = _checked_count(partitions)
        super().__init__(map(self._spec_of, range(count)), intensity=intensity or _scaled(count))

    def _answer_call(self, call: Any, ctx: Context) -> None:
        match call:
            case StartChild() | DeleteChild():
                raise SpecError("a pool's children are its partitions: `resize` changes how many there are")
            case Reconfigure() if call.children:
                raise SpecError("children: expected none for a pool, whose partitions are all of its template")
            case Reconfigure() if call.intensity is not None:
                self._is_scaled = False
        super()._answer_call(call, ctx)

    def on_other_message(self, message: object, ctx: Context) -> None:
        """Resize, or tell the partitions."""
        match message:
            case Resize(partitions):
                self._resize(_checked_count(partitions), ctx)
            case GetPartitions():
                ctx.reply(self.children)
            case _:
                super().on_other_message(message, ctx)

    def _resize(self, count: int, ctx: Context) -> None:
        known = len(self.children)
        if self._is_scaled:
            self.set_intensity(_scaled(count))
        if count > known:
            added = tuple(Child(self._spec_of(number)) for number in range(known, count))
            self.add_children(added)
            # Those of the same numbers that are still ending come first: two of one number are never up at once.
            change = Round(self.dropped_children(), added)
        else:
            gone = self.children[count:]
            # First out of sight, so that nothing more is routed to them; then ended, the last one first.
            self.drop_children(gone)
            change = Round(gone, ())
        defer_to(change.answers, ctx)
        self.begin(change, ctx)

    def _spec_of(self, number: int) -> ChildSpec:
        template = self._template
        kwargs = template.kwargs if self._with_number is None else {**template.kwargs, self._with_number: number}
        return dataclasses.replace(template, id=f"{template.id}-{number}", kwargs=kwargs)


class PartitionRouter:
    """Chooses partitions; any thread may use one.

    Args:
        routing: how a message without a key finds its partition.

    Raises:
        SpecError: there is no such routing.
    """

    def __init__(self, routing: Routing = "round_robin") -> None:
        if routing not in get_args(Routing):
            raise SpecError(f"routing: expected one of {get_args(Routing)}, got {routing!r}")
        self._routing = routing
        self._turn = itertools.count()

    def choose(self, partitions: Sequence[Child]) -> Child:
        """Choose the partition for a message without a key; one that runs, if any does."""
        first = next(self._turn) % len(partitions)
        in_turn = [*partitions[first:], *partitions[:first]]
        if self._routing == "least_busy":
            # min takes the first of equals, which the turn changes.
            return min(in_turn, key=lambda child: (child.state is not ChildState.RUNNING, _waiting(child)))
        return next((child for child in in_turn if child.state is ChildState.RUNNING), in_turn[0])

    def choose_by_key(self, partitions: Sequence[Child], key: Hashable) -> Child:
        """Choose the partition of `key`: the same one, whatever becomes of the others."""
        return partitions[rendezvous(key, len(partitions))]


def rendezvous(key: Hashable, count: int) -> int:
    """Give the number, below `count`, that `key` belongs to; the same in every process and on every machine.

    Args:
        key: text, bytes, a number, None, or a tuple of such.
        count: how many numbers there are, 1 or more.

    Raises:
        SpecError: the key is of a type that is not written the same everywhere.
    """
    text = _canonical(key)
    return max(range(count), key=lambda number: hashlib.blake2b(text + b"\0%d" % number, digest_size=8).digest())


def _canonical(key: Hashable) -> bytes:
    if isinstance(key, tuple):
        return b"(" + b",".join(_canonical(part) for part in key) + b")"
    if isinstance(key, bytes):
        return b"b%d:" % len(key) + key
    if key is None or isinstance(key, str | int | float):
        text = repr(key).encode("utf-8", "surrogatepass")
        return b"%d:" % len(text) + text
    raise SpecError(
        f"key: expected text, bytes, a number, None or a tuple of such, got a {type(key).__qualname__}: "
        "others are not written the same everywhere"
    )


def _waiting(child: Child) -> int:
    stats = getattr(child.ref, "mailbox_stats", None)
    return 0 if stats is None else stats.waiting


def _checked_count(partitions: Any) -> int:
    if not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1:
        raise SpecError(f"partitions: expected a number, 1 or more, got {partitions!r}")
    return partitions


def _scaled(count: int) -> Intensity:
    one = Intensity()
    return Intensity(one.max_restarts * count, one.period)
