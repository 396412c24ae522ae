"""`Aggregate`: one value of many, by key.

Owns the groups and when their values go out. How a value is made is `folds`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.hints import did_you_mean
from routilux.model.slot import Slot
from routilux.routines.asking import OUTPUT, Asked, Question, checked_function, input_slot
from routilux.routines.errors import RecordError
from routilux.routines.folds import FOLDS, Fold, Reduce
from routilux.routines.keys import key_text
from routilux.routines.map import VALUE
from routilux.routines.one_worker import OneWorker

FLUSH = "flush"
_GROUP = "group "
_SEEN, _AWAITED = "seen", "awaited"
_NOTHING: Any = object()


class Aggregate(OneWorker):
    """Makes one value of many, for each key: a count, a sum, or whatever a function makes.

    Slot `input`; event `output` with the parameters `key`, `value` and `count`, how many values are in it.

    When a value goes out:

    - with `window=n`, each time a key has n values; then it begins anew for that key;
    - at a message to the slot `flush`, for all keys, in the order in which they came up; then all begin anew.

    No routine is told that nothing more will come: only the job as a whole comes to its end. What was not flushed then
    stays in the state, where `results` reads it. To have it emitted, send a message to `flush`: from outside
    (`Job.send`, in a job that is kept open), or from the event `end` of a source. That one overtakes what is still on
    its way through other routines, and therefore has a `count`: `flush` waits until so many values have come in the
    whole job. So it is exact where each message of the source becomes one value here.

    It takes one worker, on a thread or in a process. Its state holds a value a key. With `list`, or a function that
    gathers, a value costs as much as all that its group holds: use those with windows, or for short lists.

    Args:
        fold: `count`, `sum`, `mean`, `min`, `max`, `list`; or a function which is called with what it gave last and
            the next value.
        key: the name of a parameter, or a function of the message, that gives its key: None, a bool, number, text,
            bytes, or a tuple of such. None: all messages are one group, whose key is None.
        value: the name of a parameter, or a function of the message, that gives what is taken in. `count` asks none.
        initial: what a function is called with first; left out, it begins with the first value.
        window: values of a window; None: until the flush.

    Raises:
        HandlerError: a function cannot be called with a message, is `async`, or yields.
        InvalidNameError: the name of a parameter cannot be one.
        OptionError: the fold is none, `initial` is given for a named one, or the window is no number of at least 1.

    In a job:
        RecordError: a key is of another type, or `count` is no number.
        SlotArgumentError: the message lacks a parameter.
        What the functions raise; TypeError: values that cannot be added, or compared.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("sales")
        >>> sales = Aggregate("sum", key="shop", value="euros")
        >>> _ = flow.add_routine(sales, "sales")
        >>> with flow.start(keep_open=True) as job:
        ...     for shop, euros in [("north", 5), ("south", 1), ("north", 2)]:
        ...         job.send("sales", "input", shop=shop, euros=euros)
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
    ) -> None:
        super().__init__()
        self._fold = _checked_fold(fold, () if initial is _NOTHING else (initial,))
        self.fold = fold
        self.key = key
        self.value = value
        self.window = _checked_window(window)
        self._key = None if key is None else Question(key, "the key of Aggregate")
        self._value = Question(value, "the value of Aggregate") if self._fold.asks_value else None
        self._add_slot(input_slot(self, self.take, [asked for asked in (self._key, self._value) if asked is not None]))
        self._add_slot(Slot(FLUSH, self.flush, owner=type(self).__name__))
        self.define_event(OUTPUT, ["key", "value", "count"])

    def take(self, data: dict[str, Any]) -> None:
        """Take in one message."""
        key = None if self._key is None else self._key(data)
        value = None if self._value is None else self._value(data)
        at = _GROUP + key_text(key, "the key of Aggregate")
        # Of keys that are equal, such as 1 and 1.0, the first one stays.
        key, count, kept = self.state.get(at) or (key, 0, None)
        kept = self._fold.add(kept, value) if count else self._fold.begin(value)
        count += 1
        if count == self.window:
            self._emit(key, count, kept)
            self.state.pop(at, None)
        else:
            self.state[at] = [key, count, kept]
        self.state[_SEEN] = seen = self.state.get(_SEEN, 0) + 1
        if _AWAITED in self.state and seen >= self.state[_AWAITED]:
            self._flush()

    def flush(self, count: int | None = None, **_others: Any) -> None:
        """Let all groups out, and begin anew; with a `count`, once so many values have come in the whole job."""
        if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
            raise RecordError(f"Aggregate expected the count of a flush to be a number of values, got {count!r}")
        if count is None or count <= self.state.get(_SEEN, 0):
            self._flush()
        else:
            self.state[_AWAITED] = count

    def results(self, state: Mapping[str, Any]) -> dict[Any, Any]:
        """Give what is not flushed, by key, in the order in which the keys came up.

        Args:
            state: the routine's state, as `JobState.routine_states` has it under `state`.
        """
        groups = [state[at] for at in state if at.startswith(_GROUP)]
        return {key: self._fold.result(kept, count) for key, count, kept in groups}

    def _flush(self) -> None:
        self.state.pop(_AWAITED, None)
        for at in [at for at in self.state if at.startswith(_GROUP)]:
            self._emit(*self.state.pop(at))

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


def _checked_window(window: object) -> int | None:
    if window is None or (isinstance(window, int) and not isinstance(window, bool) and window >= 1):
        return window
    raise OptionError(f"Aggregate: expected window to be a number of values of at least 1, or None, got {window!r}")
