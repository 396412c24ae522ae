"""`Deduplicate`: lets each message pass once, by key.

Owns which keys were seen, and which are forgotten.
"""

from __future__ import annotations

from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.model.state_policy import EXTERNAL
from routilux.quantities import is_whole
from routilux.routines.asking import OUTPUT, Asked, Question, input_slot
from routilux.routines.keys import key_text
from routilux.routines.one_worker import OneWorker

_KEY, _AT = "key ", "at "
_COUNT, _NEXT, _OLDEST = "count", "next", "oldest"


class Deduplicate(OneWorker):
    """Lets the first message of each key pass, as it came; what comes later with that key goes nowhere.

    Slot `input`, event `output`. Without `keep` it is exact, and its state grows with each new key, by its text or, for
    long ones, a digest of 64 characters. With `keep=n` it remembers the n keys that were seen last, and one that comes
    again after n others passes again. It takes one worker, on a thread or in a process.

    Args:
        key: the name of a parameter, or a function of the message, that gives its key: None, a bool, number, text,
            bytes, or a tuple of such. None: all parameters together.
        keep: how many keys are remembered; None for all.

    Raises:
        HandlerError: the function cannot be called with a message, is `async`, or yields.
        InvalidNameError, OptionError: the key is neither a function nor the name of a parameter.
        OptionError: `keep` is no number of at least 1.

    In a job:
        RecordError: a key is of another type.
        SlotArgumentError: the message lacks a parameter.
        What the function raises.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("once")
        >>> _ = flow.add_routine(Deduplicate(lambda mail: mail.lower()), "once")
        >>> _ = flow.output("once", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     for mail in ("a@x.org", "b@x.org", "A@x.org"):
        ...         job.send("once", "input", mail=mail)
        >>> job.state.outputs["once", "output"]
        [{'mail': 'a@x.org'}, {'mail': 'b@x.org'}]
    """

    state_policy: ClassVar[str] = EXTERNAL
    keeps: ClassVar[str] = "the keys it has seen in its state"

    def __init__(self, key: Asked | None = None, *, keep: int | None = None) -> None:
        super().__init__()
        if keep is not None and not is_whole(keep):
            raise OptionError(f"Deduplicate: expected keep to be a number of keys of at least 1, or None, got {keep!r}")
        self.key = key
        self.keep = keep
        self._key = None if key is None else Question(key, "the key of Deduplicate")
        self._add_slot(input_slot(self, self.take, [] if self._key is None else [self._key]))
        self.define_event(OUTPUT)

    def take(self, data: dict[str, Any]) -> None:
        """Handle one message."""
        key = tuple(sorted(data.items(), key=_name)) if self._key is None else self._key(data)
        text = key_text(key, "the key of Deduplicate")
        is_new = _KEY + text not in self.state
        if self.keep is not None:
            self._remember(text, self.keep, is_new=is_new)
        elif is_new:
            self.state[_KEY + text] = True
        if is_new:
            self.emit(OUTPUT, **data)

    def _remember(self, text: str, keep: int, *, is_new: bool) -> None:
        """Make a key the one that was seen last, and forget the one seen longest ago if there are too many.

        Keys are numbered as they are seen, so the one to forget is found without looking at all.
        """
        state = self.state
        number = state.get(_NEXT, 0)
        if not is_new:
            del state[f"{_AT}{state[_KEY + text]}"]
        state[_KEY + text] = number
        state[f"{_AT}{number}"] = text
        state[_NEXT] = number + 1
        state[_COUNT] = state.get(_COUNT, 0) + is_new
        if state[_COUNT] > keep:
            oldest = state.get(_OLDEST, 0)
            while f"{_AT}{oldest}" not in state:
                oldest += 1
            del state[_KEY + state.pop(f"{_AT}{oldest}")]
            state[_OLDEST] = oldest + 1
            state[_COUNT] = keep


def _name(item: tuple[str, Any]) -> str:
    return item[0]
