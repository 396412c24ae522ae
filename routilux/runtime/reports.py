"""What is said about failures: one line each, and how many lines there may be. Pure.

Owns the words and the bound. Never writes a line (see `failure_log`), never decides what follows from a failure.
"""

from __future__ import annotations

from typing import NamedTuple

from routilux.causes import stack_of, tell_cause, tell_details
from routilux.frames import leave_out_own
from routilux.merging import GivenUp
from routilux.routing import Plan
from routilux.runtime.commands import Failure
from supervisors.policy import FailurePolicy, Strategy
from supervisors.reasons import Crashed, Raised, Reason, StartFailed
from supervisors.text import cut, printable

LINE_LENGTH = 500
"""Characters of a line at most (arbitrary: what a log viewer can show)."""
NODE_LENGTH = 2_000
"""Characters of a line about a machine that was lost, whose workers may be many (arbitrary)."""
FREE_LINES = 20
"""Lines about a routine before they are held back (arbitrary: a screenful)."""
SECONDS_BETWEEN = 1.0
"""Between two lines about a routine after that."""
_SOON = 0.05
"""Seconds that are as good as none to whoever reads of them (arbitrary)."""
_LABEL_LENGTH = 120
_FOLLOW_LENGTH = 150
_DETAILS_LENGTH = 150


class Outcome(NamedTuple):
    """What follows from a failure.

    Args:
        strategy: what becomes of the message, the routine and the job.
        delay: seconds until the next try; for RETRY alone.
        gives_up: whether the message is a dead letter.
        restart_delay: seconds until a lost worker is replaced; None: it is not.
        loop: why the job stops, where it does because workers die too often; empty otherwise.
    """

    strategy: Strategy
    delay: float = 0.0
    gives_up: bool = False
    restart_delay: float | None = None
    loop: str = ""

    @property
    def is_grave(self) -> bool:
        """Whether more is given up than a message."""
        return self.strategy in {Strategy.STOP, Strategy.SKIP}


def tell_failure(
    failure: Failure, outcome: Outcome | None, plan: Plan, policy: FailurePolicy, left_out: int = 0
) -> str:
    """Tell of a failure in one line: what happened, to what, which try it was, what follows.

    Args:
        failure: what happened.
        outcome: what follows; None: nothing, the job is ending.
        plan: the compiled flow, for names.
        policy: what the routine wants done, for the number of tries.
        left_out: failures of this routine before it that got no line.
    """
    routine_id = plan.routines[failure.routine].id
    subject = f"routine {routine_id!r}: "
    if failure.has_message:
        tries = policy.max_retries + 1 if policy.strategy is Strategy.RETRY else 1
        message = _tell_message(plan, failure.edge, failure.message_id)
        subject += f"message {message}, try {failure.failures} of {tries}"
    else:
        subject += f"worker {failure.worker}, with no message in hand"
    routine = plan.routines[failure.routine]
    details = tell_details(failure.reason, routine.options.memory_limit, in_process=routine.runs_apart)
    return _line(subject, failure.reason, tell_outcome(failure, outcome), left_out, "; ".join(details))


def tell_outcome(failure: Failure, outcome: Outcome | None) -> str:
    """Tell what follows from a failure; arguments as for `tell_failure`."""
    if outcome is None:
        return "the job is ending"
    parts = ["given up (dead letter)"] if outcome.gives_up else []
    match outcome.strategy:
        case Strategy.RETRY:
            parts.append(f"tried again {_when(outcome.delay)}")
        case Strategy.SKIP:
            parts.append("the routine is skipped")
        case Strategy.STOP:
            parts.append(f"the job stops: {outcome.loop}" if outcome.loop else "the job stops")
        case Strategy.CONTINUE:
            pass
    if failure.is_lost and outcome.strategy is not Strategy.STOP:
        delay = outcome.restart_delay
        parts.append("its worker is not replaced" if delay is None else f"its worker is replaced {_when(delay)}")
    return "; ".join(parts)


def tell_unreadable(routine_id: str, edge: int, message_id: str, reason: Reason, plan: Plan, left_out: int = 0) -> str:
    """Tell in one line of a result that could not be read; arguments as for `tell_failure`."""
    subject = f"routine {routine_id!r}: result {_tell_message(plan, edge, message_id)}"
    return _line(subject, reason, "given up (dead letter)", left_out)


def tell_unjoined(routine_id: str, given_up: GivenUp, left_out: int = 0) -> str:
    """Tell in one line of messages for which no partner can come any more; arguments as for `tell_failure`."""
    letters = "dead letter" if given_up.messages == 1 else f"{given_up.messages:,} dead letters"
    return _line(f"routine {routine_id!r}, at the end", given_up.reason, f"given up ({letters})", left_out)


def tell_lost_node(node: str, why: str, workers: tuple[tuple[str, tuple[int, ...]], ...], plan: Plan) -> str:
    """Tell in one line of a machine that was lost, and which workers with it.

    Args:
        node: what it is called in its cluster.
        why: what is said of it there.
        workers: by routine, the numbers of those that it took.
        plan: the compiled flow.
    """
    pools = {routine.id: routine.options.pool for routine in plan.routines}
    taken = ", ".join(
        routine_id if pools[routine_id] == 1 else f"{routine_id}[{number}]"
        for routine_id, numbers in workers
        for number in numbers
    )
    return cut(printable(f"node {node} was lost ({why}), and with it the workers of {taken}"), NODE_LENGTH)


def tell_left_out(routine_id: str, count: int) -> str:
    """Tell of failures that got no line."""
    failures = "1 more failure" if count == 1 else f"{count:,} more failures"
    return f"routine {routine_id!r}: {failures} got no line here; the job's state tells of them"


def tell_end(error: str) -> str:
    """Tell that a job failed by something else than a routine's failure."""
    return cut(f"the job failed: {printable(error)}", LINE_LENGTH)


def tell_stack(reason: Reason, *, in_full: bool) -> str:
    """Tell where something went wrong, in many lines, or none.

    Args:
        reason: what.
        in_full: whether our own frames are shown too.
    """
    stack = stack_of(reason)
    return _printable_lines(stack if in_full else leave_out_own(stack))


def tell_in_full(reason: Reason) -> str:
    """Tell of a reason all that is known: stack, notes, last output; in many lines, or none."""
    lines = stack_of(reason).splitlines()
    if isinstance(reason, Raised | StartFailed):
        for note in reason.error.notes:
            lines += note.splitlines()
    if isinstance(reason, Crashed):
        lines += reason.last_output
    return "\n".join(map(printable, lines))


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


class Throttle:
    """Which failures of a routine get a line: the first ones, then at most one a second."""

    def __init__(self) -> None:
        self._told = 0
        self._last = 0.0
        self._left_out = 0

    def admit(self, now: float, *, is_grave: bool = False) -> int | None:
        """Decide about a failure.

        Args:
            now: clock reading.
            is_grave: whether it is told in any case.

        Returns:
            How many before it got no line and are not told of so far; None: nor does this one.
        """
        if self._told >= FREE_LINES and now - self._last < SECONDS_BETWEEN and not is_grave:
            self._left_out += 1
            return None
        self._told += 1
        self._last = now
        return self.take_left_out()

    def take_left_out(self) -> int:
        """Give how many got no line and are not told of so far; after that, none are."""
        left_out, self._left_out = self._left_out, 0
        return left_out


def _line(subject: str, reason: Reason, follow: str, left_out: int, details: str = "") -> str:
    tail = f" ({cut(printable(details), _DETAILS_LENGTH)})" if details else ""
    tail += f"; {cut(printable(follow), _FOLLOW_LENGTH)}" if follow else ""
    if left_out:
        tail += f" ({left_out:,} before it got no line)"
    cause = cut(tell_cause(reason), LINE_LENGTH - len(subject) - len(tail) - 2)
    return f"{subject}: {cause}{tail}"


def _tell_message(plan: Plan, edge: int, message_id: str) -> str:
    return f"{message_id} ({cut(printable(plan.edges[edge].label), _LABEL_LENGTH)})"


def _when(delay: float) -> str:
    return f"in {delay:.2g} s" if delay >= _SOON else "now"
