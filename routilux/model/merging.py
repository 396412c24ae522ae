"""How a slot merges what comes: the strategies, and what each of them needs.

Owns their names, `batch` and the checks. Never merges anything: what makes one message of several is the ledger's
(`routilux.joining`), what a handler gets of them is the turn's (`routilux.turn.uniting`, `routilux.turn.gather`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.errors import OptionError
from routilux.model.names import checked_name
from routilux.quantities import is_number, is_whole
from routilux.serial.naming import built_in
from routilux.serial.serializable import SerializableStruct

MERGE_STRATEGIES = ("override", "append", "latest", "all")
"""Those that have a name alone."""


@built_in.register("routilux.Batching")
class Batching(SerializableStruct, frozen=True):
    """The merge strategy that `batch` gives.

    Args:
        size: messages that a batch has at most.
        seconds: how long its first message waits at most for others; None for as long as it takes.
        into: the parameter that gets the messages; None: a list for each of their parameters.
    """

    size: int
    seconds: float | None = None
    into: str | None = None

    def __str__(self) -> str:
        return "batch"


MergeStrategy = str | Batching | Callable[[Any, Any], Any]
"""`override`, `append`, `latest`, `all`, what `batch` gives, or a function `(old, new) -> merged`."""


def batch(size: int, seconds: float | None = None, *, into: str | None = None) -> Batching:
    """Give the merge strategy that hands messages over together: one turn for many.

    The turn is the transaction of all of them: they are acknowledged together, tried again together, and given up
    together, each as a dead letter of its own. Until then they wait in the ledger, in the order in which they came.

    Args:
        size: messages of a batch.
        seconds: how long after its first one a smaller batch is handed over; None: when nothing else can come.
        into: the name of a parameter that gets the messages as a list of dicts; None: each parameter gets the list of
            its values, oldest message first, with None for a message that lacks it.

    Raises:
        InvalidNameError: `into` cannot be the name of a parameter.
        OptionError: `size` is no number of at least 1, or `seconds` no number above 0.

    Example:
        >>> from routilux import Routine, batch
        >>> class Store(Routine):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.define_slot("rows", self.write, merge_strategy=batch(500, seconds=2.0, into="rows"))
        ...
        ...     def write(self, rows): ...
    """
    if not is_whole(size):
        raise OptionError(f"batch: expected size to be a number of messages of at least 1, got {size!r}")
    # "not above" and not "at most": so NaN is none either.
    if seconds is not None and (not is_number(seconds) or not seconds > 0):
        raise OptionError(f"batch: expected seconds to be a number above 0, or None, got {seconds!r}")
    if into is not None:
        checked_name(into, "a parameter")
    return Batching(size, None if seconds is None else float(seconds), into)


def checked_strategy(strategy: Any, what: str) -> MergeStrategy:
    """Give `strategy` if it is one.

    Args:
        strategy: what came.
        what: how the error calls the slot.

    Raises:
        OptionError: it is none.
    """
    named = isinstance(strategy, str) and strategy in MERGE_STRATEGIES
    if named or isinstance(strategy, Batching) or callable(strategy):
        checked: MergeStrategy = strategy
        return checked
    raise OptionError(
        f"{what}: expected merge_strategy to be one of {MERGE_STRATEGIES}, batch(size, seconds), or a function "
        f"(old, new) -> merged, got {strategy!r}"
    )


def strategy_word(strategy: MergeStrategy) -> str:
    """Give the word for a strategy: its name, `batch`, or `callable`."""
    return str(strategy) if isinstance(strategy, str | Batching) else "callable"


def is_united(strategy: MergeStrategy) -> bool:
    """Whether one turn handles several messages."""
    return strategy == "all" or isinstance(strategy, Batching)


def is_of_each_connection(strategy: MergeStrategy) -> bool:
    """Whether what is handed over has something of each of the slot's connections."""
    return strategy in ("all", "latest")


def keeps_gathered(strategy: MergeStrategy) -> bool:
    """Whether something of a message stays with the routine's state once it is handled."""
    return strategy != "override" and not is_united(strategy)
