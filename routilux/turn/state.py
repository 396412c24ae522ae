"""A routine's declared state: how it is committed, read and written down (R5).

Owns the form of the committed state. What turns see of it are views: `tracked` for dicts, `objects` for what is one
object. A view never changes the committed state: whoever owns it applies the operations (`apply_ops`), and says so
by `accept`.

Theory of operation. Committed is a flat dict: values of exact immutable types (`IMMUTABLE_TYPES`)
are kept as they are, all others as the bytes they were encoded to, unless the routine's policy says that its state is
one object which is kept by reference (`Held`). A turn's working copy holds only
the keys it touched: a mutable value is decoded when it is first read, and at the commit every
touched value is encoded and compared with its committed bytes. So nested changes are neither lost
nor kept by a failed turn, and a turn costs what it touched, however many keys there are.

A decoded object lives as long as its turn. Kept longer it would save a decoding, but it could be
reached from elsewhere (another key, an emitted payload, a variable): a later change through that
other road would come or not come depending on whether the worker was replaced in between, and
state would not be equal to that of a run without kills (R6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.model.options import RoutineOptions
from routilux.model.state_policy import ENCODED, EXTERNAL, IN_PLACE, NONE, VALUE, make_default
from routilux.model.stats import add
from routilux.serial.plain_writer import struct_as_it_is
from routilux.turn.tables import Runs
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.errors import InternalError, ValueDecodingError, ValueEncodingError
from supervisors.reasons import ErrorRecord, record_error
from supervisors.text import cut, printable

Committed = dict[str, Any]
"""Key to immutable value, encoded bytes, `Held`, or (reserved keys of gathering slots) a list of chunks."""

IMMUTABLE_TYPES = frozenset({type(None), bool, int, float, str})
"""Exact types whose values are kept as they are."""
OBJECT_KEY = ""
"""The one key of a state that is an object (`msgspec.Struct` or dataclass) and not a dict."""
RESERVED_PREFIX = "\0"
"""First character of the keys that belong to the runtime and never show in a state."""
STAT_PREFIX = f"{RESERVED_PREFIX}stat:"
"""How the keys begin under which a routine's numbers are kept (see `stats`): int or float, as they are."""
_DICTS = frozenset({ENCODED, EXTERNAL})
"""Policies by which a state without a class is kept key by key."""
_TOLD_CHARACTERS = 300
"""Characters of an error that an unreadable value shows (arbitrary)."""


class StateTurn(Protocol):
    """A declared state as the turns of one incarnation use it."""

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state that it is a view of."""

    @property
    def value(self) -> Any:
        """What the handler sees as `self.state`."""

    def begin(self) -> None:
        """Start a turn from the committed state."""

    def replace(self, value: Any) -> None:
        """Make `value` the whole state."""

    def prepare(self) -> list[StateOp]:
        """List what differs from the committed state."""

    def accept(self) -> None:
        """Go on from what was prepared; its operations have been applied to the committed state."""

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Take `committed`, which holds what was prepared, for the committed state from here on."""

    def rollback(self) -> None:
        """Go back to the committed state."""


class StateView:
    """What the views of a state have in common: the committed state that they are a view of.

    Args:
        committed: the committed state; kept, never changed.
    """

    __slots__ = ("_committed",)

    def __init__(self, committed: Mapping[str, Any]) -> None:
        self._committed = committed

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state."""
        return self._committed

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state: other turns have committed too."""
        self._committed = committed


class Held:
    """A value that is committed by reference: it is immutable, and on a thread.

    Args:
        value: the value itself.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Live(Held):
    """A value that is committed by reference, and changed in place by the turns of its routine."""

    __slots__ = ()


def apply_ops(committed: Committed, ops: Iterable[StateOp]) -> None:
    """Change `committed` in place, in order.

    Raises:
        InternalError: an operation of an unknown kind.
    """
    for kind, key, value in ops:
        if kind == "set":
            committed[key] = value
        elif kind == "del":
            committed.pop(key, None)
        elif kind == "append":
            committed.setdefault(key, []).append(value)
        elif kind == "add":
            committed[key] = add(committed.get(key, 0), value)
        else:
            raise InternalError(f"a state operation is 'set', 'del', 'append' or 'add', got {kind!r} for {key!r}")


class Unreadable:
    """Stands where a value would be that cannot be decoded in the process that reads it.

    Its class may be one that only a worker can import, or its unpickling may raise.

    Args:
        error: why.
        size_bytes: bytes of the encoded value.
    """

    # No dataclass: encoders would take it apart, where its `repr` is what tells.
    __slots__ = ("error", "size_bytes")

    def __init__(self, error: ErrorRecord, size_bytes: int) -> None:
        self.error = error
        self.size_bytes = size_bytes

    def _take_fields(self) -> dict[str, Any]:
        return {"error": struct_as_it_is(self.error), "size_bytes": self.size_bytes}

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        error, size_bytes = msgspec.convert((fields["error"], fields["size_bytes"]), tuple[ErrorRecord, int])
        self.__init__(error, size_bytes)  # type: ignore[misc]  # it holds nothing yet

    def __repr__(self) -> str:
        return f"<unreadable, {self.size_bytes:,} bytes: {cut(printable(self.error.text), _TOLD_CHARACTERS)}>"


class InPlace:
    """Stands for a state that is changed in place by a job that still runs: who read it now would see half a turn."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<changed in place: read it in a handler, or when the job is over>"


def decode_state(
    committed: Mapping[str, Any],
    state_type: type | None = None,
    *,
    policy: str = ENCODED,
    codec: ValueCodec = PICKLED,
    at_rest: bool = False,
) -> Any:
    """Decode a committed state for a reader: a fresh dict or object, reserved keys left out.

    What cannot be decoded is given as `Unreadable`, so that it hides nothing else. A state that is one immutable
    object on a thread (`value`) is given itself; one that is changed in place as `InPlace` while it may be changed.

    Args:
        committed: the state; only read.
        state_type: its class; None for a dict.
        policy: how it is kept.
        codec: how its values are encoded.
        at_rest: whether nothing runs any more that could change it in place; then that is given itself.
    """
    if policy in _DICTS and (state_type is None or state_type is dict):
        items = committed.items()
        return {key: decode_for_reader(value, codec) for key, value in items if key[:1] != RESERVED_PREFIX}
    if policy != NONE and OBJECT_KEY in committed:
        kept = committed[OBJECT_KEY]
        if isinstance(kept, Held):
            return InPlace() if isinstance(kept, Live) and not at_rest else kept.value
        return decode_for_reader(kept, codec)
    try:
        return make_default(state_type, policy)
    except BaseException as error:  # noqa: BLE001 - a class of the user's
        return Unreadable(record_error(error), 0)


def decode_for_reader(value: Any, codec: ValueCodec) -> Any:
    """Decode a committed value; `Unreadable` if that cannot be done."""
    try:
        return from_committed(value, codec)
    except ValueDecodingError as error:
        return Unreadable(record_error(error), len(value))


def begin_state(routine: Runs, codec: ValueCodec = PICKLED, *, by_reference: bool = False) -> Committed:
    """Give the committed state that a routine's worker begins with; raises as `encode_initial`."""
    stats = {f"{STAT_PREFIX}{name}": value for name, value in routine.initial_stats.items()}
    if routine.state_policy == NONE:
        return stats
    return encode_initial(routine.state, routine.state_policy, codec, by_reference=by_reference) | stats


def begin_states(options: RoutineOptions, routine: Runs, codec: ValueCodec = PICKLED) -> list[Committed]:
    """Give the committed states that a routine begins with: one a worker; raises as `encode_initial`.

    Of one that is partitioned it is one without any key, each of which begins when it comes first.
    """
    begun = [begin_state(routine, codec, by_reference=not options.runs_apart) for _ in range(options.states)]
    if options.partition_by is None:
        return begun
    return [{key: value for key, value in begun[0].items() if is_reserved(key)}]


def encode_initial(
    state: Any, policy: str = ENCODED, codec: ValueCodec = PICKLED, *, by_reference: bool = False
) -> Committed:
    """Turn the state a routine starts with into a committed state.

    Args:
        state: a mapping with text keys, or the one object of a declared state type; copied, but for that of `value`.
        policy: how it is kept.
        codec: how its values are encoded.
        by_reference: whether its turns run on a thread.

    Raises:
        StateError: a key that a state cannot have.
        ValueEncodingError: a value that cannot be carried; its path starts with `state`.
    """
    if policy == IN_PLACE:
        # A copy: each job changes its own.
        return {OBJECT_KEY: Live(codec.decode(codec.encode(state, "state")))}
    if policy == VALUE and by_reference:
        codec.check(state, "state")
        return {OBJECT_KEY: Held(state)}
    if policy == VALUE or not isinstance(state, Mapping):
        return {OBJECT_KEY: codec.encode(state, "state")}
    commit = only_scalar if policy == EXTERNAL else to_committed
    return {key: commit(key, value, codec) for key, value in checked_items(state).items()}


def to_stored(committed: Committed, codec: ValueCodec = PICKLED) -> Committed:
    """Give a committed state as it is written down: immutable values, bytes, and lists of bytes.

    Args:
        committed: only read; where it is changed in place, by a thread that keeps its turns from running meanwhile.
        codec: how values are encoded.

    Raises:
        ValueEncodingError: what is kept by reference cannot be carried; its path starts with `state`.
    """
    return {key: _to_stored(key, value, codec) for key, value in committed.items()}


def from_stored(
    stored: Committed, policy: str = ENCODED, codec: ValueCodec = PICKLED, *, by_reference: bool = False
) -> Committed:
    """Give the committed state of a routine that goes on from what `to_stored` gave.

    Args:
        stored: only read.
        policy: how its state is kept.
        codec: how its values are encoded.
        by_reference: whether its turns run on a thread.

    Raises:
        ValueDecodingError: what is to be kept by reference cannot be decoded.
    """
    # Lists are copied: what a slot gathers is appended to in place.
    committed = {key: value.copy() if value.__class__ is list else value for key, value in stored.items()}
    keeps_object = policy == IN_PLACE or (policy == VALUE and by_reference)
    if keeps_object and OBJECT_KEY in stored:
        hold = Live if policy == IN_PLACE else Held
        committed[OBJECT_KEY] = hold(from_committed(stored[OBJECT_KEY], codec))
    return committed


def _to_stored(key: str, value: Any, codec: ValueCodec) -> Any:
    if isinstance(value, Held):
        return codec.encode(value.value, "state")
    if value.__class__ is list:
        return [chunk if chunk.__class__ is bytes else codec.encode(chunk, f"state[{key!r}]") for chunk in value]
    return value


def to_committed(key: str, value: Any, codec: ValueCodec) -> Any:
    """Give the form in which `value` is committed.

    Raises:
        ValueEncodingError: it cannot be carried; its path starts with `state['key']`.
    """
    return value if value.__class__ in IMMUTABLE_TYPES else codec.encode(value, f"state[{key!r}]")


def from_committed(value: Any, codec: ValueCodec) -> Any:
    """Decode a committed value; every call gives a new copy of a mutable one.

    Raises:
        ValueDecodingError: the bytes cannot be turned back into a value.
    """
    return codec.decode(value) if value.__class__ is bytes else value


def only_scalar(key: str, value: Any, codec: ValueCodec) -> Any:  # noqa: ARG001 - in the place of `to_committed`
    """Give `value` if it is committed as it is.

    Raises:
        ValueEncodingError: it is of no exact immutable type; its path is `state['key']`.
    """
    if value.__class__ in IMMUTABLE_TYPES:
        return value
    detail = (
        f"it is a {type(value).__qualname__}, and a state of policy {EXTERNAL!r} keeps None, bool, int, float and str "
        "alone (exactly these types)"
    )
    raise ValueEncodingError(f"state[{key!r}]", detail)


def is_same(before: Any, after: Any) -> bool:
    """Tell whether two committed values are one and the same."""
    # 1, 1.0 and True are equal and yet three states; so are 0.0 and -0.0.
    if before.__class__ is not after.__class__:
        return False
    return before.hex() == after.hex() if before.__class__ is float else bool(before == after)


def is_reserved(key: object) -> bool:
    """Tell whether `key` belongs to the runtime and not to the state."""
    return isinstance(key, str) and key[:1] == RESERVED_PREFIX


def checked_items(items: Mapping[Any, Any]) -> dict[str, Any]:
    """Give a dict with the same values, its keys checked by `checked_key`."""
    return {checked_key(key): value for key, value in items.items()}


def checked_key(key: Any) -> str:
    """Give `key` as exact text.

    Raises:
        StateError: it is no text, is reserved, or cannot be written as UTF-8.
    """
    if not isinstance(key, str):
        raise StateError(f"a key of the state is text, got {key!r} of type {type(key).__qualname__}")
    if key[:1] == RESERVED_PREFIX:
        raise StateError(f"a key of the state must not begin with a zero character, got {key!r}")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise StateError(f"a key of the state must be valid Unicode, got {key!r}") from error
    return str.__str__(key)
