"""`Aggregate`: one value of many, by key.

Owns the groups and when their values go out. How a value is made is `folds`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.hints import did_you_mean
from routilux.routines.asking import END, OUTPUT, Asked, Question, input_slot
from routilux.routines.folds import FOLDS, Fold, Reduce
from routilux.routines.keys import key_text
from routilux.routines.map import VALUE
from routilux.routines.one_worker import OneWorker

FLUSH = "flush"
_GROUP = "group "
_NOTHING: Any = object()


class Aggregate(OneWorker):
    """Makes one value of many, for each key: a count, a sum, or whatever a function makes.

    Slot `input`; event `output` with the parameters `key`, `value` and `count`, how many values are in it.

    When a value goes out:

    - with `window=n`, each time a key has n values; then it begins anew for that key;
    - when nothing else can come, for all keys, in the order in which they came up: it has a slot `end`, to which the
      job itself sends. That leaves them in the state, where `results` reads them also while the job runs;
    - at a message to the slot `flush`, in the same order; then all begin anew.

    It takes one worker, on a thread or in a process. Its state holds a value a key. With `list`, or a function that
    gathers, a value costs as much as all that its group holds: use those with windows, or for short lists.

    Args:
        fold: `count`, `sum`, `mean`, `min`, `max`, `list`; or a function which is called with what it gave last and
            the next value.
        key: the name of a parameter, or a function of the message, that gives its key: None, a bool, number, text,
            bytes, or a tuple of such. None: all messages are one group, whose key is None.
        value: the name of a parameter, or a function of the message, that gives what is taken in. `count` asks none.
        initial: what a function is called with first; left out, it begins with the first value.
        window: values of a window; None: all until a flush, or the end.

    Raises:
        HandlerError: a function cannot be called with a message.
        InvalidNameError: the name of a parameter cannot be one.
        OptionError: the fold is none, `initial` is given for a named one, or the window is no number of at least 1.

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
        self.define_slot(FLUSH, self.flush)
        self.define_slot(END, self.end, at_end=True)
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

    def _emit(self, key: Any, count: int, kept: Any) -> None:
        self.emit(OUTPUT, key=key, value=self._fold.result(kept, count), count=count)


def _checked_fold(fold: object, initial: tuple[Any, ...]) -> Fold:
    if callable(fold):
        return Reduce(fold, initial)
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
