"""`Join`: what belongs together, by key.

Owns what waits for its partners, and in which order it finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.model.names import checked_names
from routilux.routines.asking import END, OUTPUT, Asked, Question, input_slot
from routilux.routines.errors import RecordError
from routilux.routines.keys import key_text
from routilux.routines.one_worker import OneWorker
from routilux.turn.uniting import is_same

UNMATCHED = "unmatched"
_ITEM, _QUEUE = "item ", "queue "
_BETWEEN = "\n"
"""Between a side and a key in a key of the state: neither has one in it."""


class Join(OneWorker):
    """Makes one message of several that belong together: one of each side, with the same key.

    A slot for each side, `left` and `right` unless others are named; event `output` with the parameters of all. For
    each key, the first of a side goes with the first of the others, the second with the second. Without a key that is
    so for all messages: as they come, in step. A parameter that several sides bring, as the key mostly is, has to be
    equal in all of them.

    What waits for a partner is in its state, and so in each checkpoint: a message costs what it weighs itself, however
    much waits. It is not bounded: nobody but the sender knows which partner is still to come. When nothing else can
    come, what found none goes out on the event `unmatched` with `side`, `key` and `message`, a dict, in the order in
    which it came. It takes one worker, on a thread or in a process.

    Args:
        key: the name of a parameter, or a function of the message, that gives its key: None, a bool, number, text,
            bytes, or a tuple of such. It is asked of the messages of each side; `param_mapping` of a connection renames
            what is called otherwise there. None: all messages have the same one.
        sides: the names of the sides, two at least.

    Raises:
        HandlerError: the function cannot be called with a message.
        InvalidNameError: a name cannot be one of a parameter or a slot, or names a side twice.
        OptionError: the key is neither a function nor a name; there are fewer than two sides, or one is called `end`.

    In a job:
        RecordError: a key is of another type; or sides bring a parameter that is not the same in all of them. Then the
            message that came last fails, and the others wait on.
        SlotArgumentError: the message lacks a parameter.
        What the function raises.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("orders")
        >>> _ = flow.add_routine(Join("order", sides=["goods", "paid"]), "join")
        >>> for event in ("output", "unmatched"):
        ...     _ = flow.output("join", event)
        >>> with flow.start(keep_open=True) as job:
        ...     job.send("join", "goods", order=1, goods="tea")
        ...     job.send("join", "goods", order=2, goods="cup")
        ...     job.send("join", "paid", order=2, euros=5)
        >>> job.state.outputs["join", "output"]
        [{'order': 2, 'goods': 'cup', 'euros': 5}]
        >>> job.state.outputs["join", "unmatched"]
        [{'side': 'goods', 'key': 1, 'message': {'order': 1, 'goods': 'tea'}}]
    """

    keeps: ClassVar[str] = "what waits for its partner in its state"

    def __init__(self, key: Asked | None = None, *, sides: Iterable[str] = ("left", "right")) -> None:
        super().__init__()
        self.key = key
        self.sides = _checked_sides(sides)
        for side in self.sides:
            question = None if key is None else Question(key, "the key of Join", slot=side)
            take = partial(self.take, side, question)
            self._add_slot(input_slot(self, take, [] if question is None else [question], side))
        self.define_slot(END, self.end, at_end=True)
        self.define_event(OUTPUT)
        self.define_event(UNMATCHED, ["side", "key", "message"])

    def take(self, side: str, question: Question | None, data: dict[str, Any]) -> None:
        """Handle one message of a side."""
        key = None if question is None else question(data)
        text = key_text(key, "the key of Join")
        # Some side never has anything for a key: it would have gone out.
        if all(_queue_of(other, text) in self.state for other in self.sides if other != side):
            messages = {other: data if other == side else self._next(other, text) for other in self.sides}
            self.emit(OUTPUT, **_joined(messages))
        else:
            self._keep(side, text, [side, key, data])

    def end(self) -> None:
        """Let out what found no partner, when nothing else can come."""
        for at in [at for at in self.state if at.startswith(_ITEM)]:
            side, key, message = self.state[at]
            self.emit(UNMATCHED, side=side, key=key, message=message)
        self.state.clear()

    # A queue for each side and key, as a key of the state for each message and one for the numbers of the first and of
    # the next: a commit costs what a turn touches, and a list of messages would be written anew each time.

    def _keep(self, side: str, text: str, item: list[Any]) -> None:
        queue = _queue_of(side, text)
        first, after = self.state.get(queue, (0, 0))
        self.state[_item_of(side, text, after)] = item
        self.state[queue] = [first, after + 1]

    def _next(self, side: str, text: str) -> dict[str, Any]:
        queue = _queue_of(side, text)
        first, after = self.state[queue]
        message: dict[str, Any] = self.state.pop(_item_of(side, text, first))[2]
        if first + 1 < after:
            self.state[queue] = [first + 1, after]
        else:
            del self.state[queue]
        return message


def _queue_of(side: str, text: str) -> str:
    return f"{_QUEUE}{side}{_BETWEEN}{text}"


def _item_of(side: str, text: str, number: int) -> str:
    return f"{_ITEM}{number} {side}{_BETWEEN}{text}"


def _joined(messages: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Give the parameters of messages together.

    Args:
        messages: by side.

    Raises:
        RecordError: one is not the same in all that have it.
    """
    joined: dict[str, Any] = {}
    brought_by: dict[str, str] = {}
    for side, message in messages.items():
        for name, value in message.items():
            if name not in joined:
                joined[name] = value
                brought_by[name] = side
            elif not is_same(joined[name], value):
                raise RecordError(
                    f"Join: both {brought_by[name]!r} and {side!r} bring {name!r}, and not the same: map one of them "
                    "to another name (param_mapping)"
                )
    return joined


def _checked_sides(sides: object) -> tuple[str, ...]:
    names = checked_names(sides, "sides of Join")
    if len(names) < 2:  # noqa: PLR2004  one is joined with nothing
        raise OptionError(f"Join: expected two sides or more, got {list(names)}")
    if END in names:
        raise OptionError(f"Join: its slot {END!r} is the one that hears of the end; call the side otherwise")
    return names
