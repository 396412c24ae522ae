"""The errors of `supervisors`.

SupervisorsError
├── MailboxError (RuntimeError)
│   ├── MailboxFullError      the caller sends faster than the actor takes
│   └── MailboxClosedError    the actor has ended
├── UndescribedError          what a request raised could not be described by its service
├── ValueEncodingError (TypeError)   a value cannot be carried; `path` names the part
├── ValueDecodingError (ValueError)  bytes cannot be turned back into a value
├── FrameError (ValueError)          bytes that are not a frame of the protocol
├── SpecError (ValueError)           a child specification or option is wrong
├── StartError (RuntimeError)        an actor or a process could not be started
│   └── PreloadError          a module that workers are to have from the start could not be imported
├── RestartIntensityError (RuntimeError)  a supervisor's children die too often
├── AskError (RuntimeError)
│   ├── ActorEndedError       the actor asked ended without answering
│   ├── AskTimeoutError (TimeoutError)   it did not answer in time
│   ├── RemoteError           its handling raised in another process, what cannot be brought here
│   └── DeadlockError         the ask would wait for itself
├── NotInProcessError (RuntimeError)  an actor in a process of its own cannot do this
├── ChildError (ValueError)   a supervisor was asked for what its children do not allow
│   ├── UnknownChildError (LookupError)  there is no child of that id
│   ├── ChildExistsError      there is one already
│   ├── ChildStateError       it runs, or waits to be started again
│   └── MaxChildrenError      there are as many as there may be
└── InternalError (RuntimeError)     a state that the code holds to be impossible
"""

from __future__ import annotations

from typing import Any, TypeVar

E = TypeVar("E", bound=Exception)


class SupervisorsError(Exception):
    """Base of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # It crosses from a worker to its parent. The default would call the class with the text, which is not what its
        # `__init__` takes.
        return restore_error, (type(self), self.args, dict(self.__dict__))


def restore_error(kind: type[E], args: tuple[Any, ...], attributes: dict[str, Any]) -> E:
    """Make an error again that was carried: its text and its attributes are what they were."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class MailboxError(SupervisorsError, RuntimeError):
    """A mailbox did not take a message."""


class MailboxFullError(MailboxError):
    """The data lane is at its bound.

    Args:
        capacity: the bound, in messages.
    """

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        super().__init__(
            f"the mailbox holds {capacity} messages, its capacity; send again when the actor has caught up"
        )


class MailboxClosedError(MailboxError):
    """The actor has ended and takes no more messages."""

    def __init__(self) -> None:
        super().__init__("the mailbox is closed: its actor has ended")


class UndescribedError(SupervisorsError):
    """What a request raised could not be described: an error in the handling of an error.

    Its text is what was raised first, its cause the same, and a note tells what describing it raised.
    """


class ValueEncodingError(SupervisorsError, TypeError):
    """A value cannot be carried to another process or kept as state.

    Args:
        path: where the bad part is, such as `payload.items[3].callback`.
        detail: what is wrong with it.
    """

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        self.detail = detail
        super().__init__(f"{path} cannot be carried: {detail}")


class ValueDecodingError(SupervisorsError, ValueError):
    """Bytes could not be turned back into a value."""


class FrameError(SupervisorsError, ValueError):
    """Bytes are not a frame of the protocol."""


class RequestTooLongError(FrameError):
    """A request is longer than its place carries.

    Args:
        seq: its number.
        size: its bytes.
        bound: the most that the place carries.
    """

    def __init__(self, seq: int, size: int, bound: int) -> None:
        self.seq = seq
        self.size = size
        self.bound = bound
        super().__init__(f"a request of {size} bytes is over the bound of {bound} bytes")


class SpecError(SupervisorsError, ValueError):
    """A specification or option has a value that it cannot have."""


class StartError(SupervisorsError, RuntimeError):
    """An actor or a process could not be started."""


class PreloadError(StartError):
    """A module that worker processes are to have from the start could not be imported.

    Args:
        module: its name.
        detail: what is wrong with it.
    """

    def __init__(self, module: str, detail: str) -> None:
        self.module = module
        self.detail = detail
        super().__init__(f"preload: module {module!r} could not be imported: {detail}")


class RestartIntensityError(SupervisorsError, RuntimeError):
    """A child was lost once more than its supervisor's intensity allows.

    Args:
        child: its id.
        max_restarts: restarts that are allowed.
        period: seconds within which they are counted.
        last: its last end, in one line.
    """

    def __init__(self, child: str, max_restarts: int, period: float, last: str) -> None:
        super().__init__(f"child {child!r} {last}, which makes more than {max_restarts} restarts within {period:g} s")


class AskError(SupervisorsError, RuntimeError):
    """An ask was not answered."""


class ActorEndedError(AskError):
    """The actor that was asked ended without answering.

    Args:
        path: the actor.
        reason: why it ended (a `supervisors.reasons.Reason`).
    """

    def __init__(self, path: str, reason: Any) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"actor {path} ended without answering: {reason}")


class AskTimeoutError(AskError, TimeoutError):
    """The actor that was asked did not answer in time; an ask it had not begun is never run."""

    def __reduce__(self) -> tuple[Any, ...]:
        # With two built-in bases, it is made by a call alone; which takes its text.
        return type(self), self.args, dict(self.__dict__)


class RemoteError(AskError):
    """The handling of an ask raised, in another process, an exception that cannot be brought here.

    Args:
        record: what is known of it (a `supervisors.reasons.ErrorRecord`).
    """

    def __init__(self, record: Any) -> None:
        self.record = record
        super().__init__(str(record))


class NotInProcessError(SupervisorsError, RuntimeError):
    """An actor that runs in a process of its own cannot do this.

    Args:
        what: what was tried.
        instead: what to do instead.
    """

    def __init__(self, what: str, instead: str) -> None:
        self.what = what
        self.instead = instead
        super().__init__(f"{what} is not possible for an actor in a process of its own: {instead}")


class DeadlockError(AskError):
    """An ask would wait for the asker itself, directly or around a ring of actors.

    Args:
        ring: the paths of the actors that would wait for each other, the asker first.
    """

    def __init__(self, ring: tuple[str, ...]) -> None:
        self.ring = ring
        super().__init__(f"this ask would never be answered, as each waits for the next: {' -> '.join(ring)}")


class ChildError(SupervisorsError, ValueError):
    """A supervisor was asked for something that its children do not allow."""


class UnknownChildError(ChildError, LookupError):
    """The supervisor has no child of that id."""


class ChildExistsError(ChildError):
    """The supervisor has a child of that id already."""


class ChildStateError(ChildError):
    """The child runs, or waits to be started again, and must not for what was asked."""


class MaxChildrenError(ChildError):
    """A dynamic supervisor has as many children as it may have."""


class InternalError(SupervisorsError, RuntimeError):
    """A state that the code holds to be impossible; please report it."""
