"""`Aggregate`: one value of many, by key.

Owns the groups and when their values go out. How a value is made is `folds`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.hints import did_you_mean
from routilux.model.options import RoutineOptions
from routilux.quantities import is_number, is_whole
from routilux.routines.asking import END, OUTPUT, Asked, Question, batch_slot, checked_function, input_slot
from routilux.routines.folds import FOLDS, Fold, Reduce
from routilux.routines.keys import key_text
from routilux.routines.map import VALUE
from routilux.routines.one_worker import OneWorker

FLUSH = "flush"
MOST = 10_000
"""Messages of a window by time at most, unless its routine says otherwise (arbitrary)."""
_GROUP = "group "
_Group = list[Any]
"""A key, how many values there are, and what the fold keeps of them."""
_NOTHING: Any = object()


class Aggregate(OneWorker):
    """Makes one value of many, for each key: a count, a sum, or whatever a function makes.

    Slot `input`; event `output` with the parameters `key`, `value` and `count`, how many values are in it.

    When a value goes out:

    - with `window=n`, each time a key has n values; then it begins anew for that key;
    - when nothing else can come, for all keys, in the order in which they came up: it has a slot `end`, to which the
      job itself sends. That leaves them in the state, where `results` reads them also while the job runs;
    - at a message to the slot `flush`, in the same order; then all begin anew;
    - with `seconds=s`, and then only so: what comes within that time of a first message is one window of all keys,
      and goes out when the time is over, or when the window has `most` messages, or nothing else can come.

    It takes one worker, on a thread or in a process. Its state holds a value a key. With `list`, or a function that
    gathers, a value costs as much as all that its group holds: use those with windows, or for short lists.

    A window by time is one turn for all its messages: they wait in the ledger, as for a `Batch`, not in the state, so
    there may be any number of workers. One message that cannot be taken in fails all of its window.

    Args:
        fold: `count`, `sum`, `mean`, `min`, `max`, `list`; or a function which is called with what it gave last and
            the next value.
        key: the name of a parameter, or a function of the message, that gives its key: None, a bool, number, text,
            bytes, or a tuple of such. None: all messages are one group, whose key is None.
        value: the name of a parameter, or a function of the message, that gives what is taken in. `count` asks none.
        initial: what a function is called with first; left out, it begins with the first value.
        window: values of a window, by key; None: all until a flush, or the end.
        seconds: how long a window is, for all keys; None: it does not end by time.
        most: messages of a window by time at most, so that it fits into the memory.

    Raises:
        HandlerError: a function cannot be called with a message, is `async`, or yields.
        InvalidNameError: the name of a parameter cannot be one.
        OptionError: the fold is none, `initial` is given for a named one, a number cannot be that, or both `window`
            and `seconds` are given.

    In a job:
        RecordError: a key is of another type.
        SlotArgumentError: the message lacks a parameter.
        What the functions raise; TypeError: values that cannot be added, or compared.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("sales")
        >>> sales = Aggregate("sum", key="shop", value="euros")
        >>> _ = flow.add_routine(sales, "sales")
        >>> _ = flow.output("sales", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     for shop, euros in [("north", 5), ("south", 1), ("north", 2)]:
        ...         job.send("sales", "input", shop=shop, euros=euros)
        >>> job.state.outputs["sales", "output"]
        [{'key': 'north', 'value': 7, 'count': 2}, {'key': 'south', 'value': 1, 'count': 1}]
        >>> sales.results(job.state.routine_states["sales"]["state"])
        {'north': 7, 'south': 1}
    """

    keeps: ClassVar[str] = "its groups in its state"

    def __init__(
        self,
        fold: str | Callable[[Any, Any], Any] = "count",
        *,
        key: Asked | None = None,
        value: Asked = VALUE,
        initial: Any = _NOTHING,
        window: int | None = None,
        seconds: float | None = None,
        most: int = MOST,
    ) -> None:
        super().__init__()
        self._fold = _checked_fold(fold, () if initial is _NOTHING else (initial,))
        self.fold = fold
        self.key = key
        self.value = value
        self.window = None if window is None else _checked_count(window, "window")
        self.seconds = None if seconds is None else _checked_seconds(seconds, window)
        self.most = _checked_count(most, "most")
        self._key = None if key is None else Question(key, "the key of Aggregate")
        self._value = Question(value, "the value of Aggregate") if self._fold.asks_value else None
        questions = [asked for asked in (self._key, self._value) if asked is not None]
        if self.seconds is None:
            self._add_slot(input_slot(self, self.take, questions))
            self.define_slot(FLUSH, self.flush)
            self.define_slot(END, self.end, at_end=True)
        else:
            self._add_slot(batch_slot(self, self.take_window, questions, self.most, self.seconds))
        self.define_event(OUTPUT, ["key", "value", "count"])

    def objection_to(self, options: RoutineOptions) -> str | None:
        """Object to several workers, where groups are kept."""
        return super().objection_to(options) if self.seconds is None else None

    def take(self, data: dict[str, Any]) -> None:
        """Take in one message."""
        at, key, value = self._ask(data)
        group = self._added(self.state.get(at), key, value)
        if group[1] == self.window:
            self._emit(*group)
            self.state.pop(at, None)
        else:
            self.state[at] = group

    def take_window(self, items: list[dict[str, Any]]) -> None:
        """Make the values of a window by time."""
        groups: dict[str, _Group] = {}
        for data in items:
            at, key, value = self._ask(data)
            groups[at] = self._added(groups.get(at), key, value)
        for group in groups.values():
            self._emit(*group)

    def flush(self) -> None:
        """Let all groups out, and begin anew."""
        for at in self._groups():
            self._emit(*self.state.pop(at))

    def end(self) -> None:
        """Let all groups out when nothing else can come, and leave them where they are read."""
        for at in self._groups():
            self._emit(*self.state[at])

    def results(self, state: Mapping[str, Any]) -> dict[Any, Any]:
        """Give what was not flushed, by key, in the order in which the keys came up.

        Args:
            state: the routine's state, as `JobState.routine_states` has it under `state`.
        """
        groups = [state[at] for at in state if at.startswith(_GROUP)]
        return {key: self._fold.result(kept, count) for key, count, kept in groups}

    def _groups(self) -> list[str]:
        return [at for at in self.state if at.startswith(_GROUP)]

    def _ask(self, data: dict[str, Any]) -> tuple[str, Any, Any]:
        key = None if self._key is None else self._key(data)
        value = None if self._value is None else self._value(data)
        return _GROUP + key_text(key, "the key of Aggregate"), key, value

    def _added(self, group: _Group | None, key: Any, value: Any) -> _Group:
        if group is None:
            return [key, 1, self._fold.begin(value)]
        # Of keys that are equal, such as 1 and 1.0, the first one stays.
        first, count, kept = group
        return [first, count + 1, self._fold.add(kept, value)]

    def _emit(self, key: Any, count: int, kept: Any) -> None:
        self.emit(OUTPUT, key=key, value=self._fold.result(kept, count), count=count)


def _checked_fold(fold: object, initial: tuple[Any, ...]) -> Fold:
    if callable(fold):
        return Reduce(checked_function(fold, "the fold of Aggregate"), initial)
    if not isinstance(fold, str) or fold not in FOLDS:
        raise OptionError(
            f"Aggregate: expected fold to be one of {list(FOLDS)}, or a function (result so far, value) -> result, "
            f"got {fold!r}{did_you_mean(fold, list(FOLDS))}"
        )
    if initial:
        raise OptionError(f"Aggregate: initial is for functions, and {fold!r} begins with the first value")
    return FOLDS[fold]


def _checked_count(value: object, name: str) -> int:
    if is_whole(value):
        return value
    raise OptionError(f"Aggregate: expected {name} to be a number of values of at least 1, got {value!r}")


def _checked_seconds(value: object, window: int | None) -> float:
    if not is_number(value) or not value > 0:
        raise OptionError(f"Aggregate: expected seconds to be a number above 0, or None, got {value!r}")
    if window is not None:
        raise OptionError("Aggregate: a window ends by its number of values or by time: give window= or seconds=")
    return value
