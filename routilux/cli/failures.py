"""What went wrong in a job, by its kind: read from a history once, however long that is. Pure."""

from __future__ import annotations

import dataclasses

from routilux.cli.summary import kind_of
from routilux.executions import ExecutionRecord
from supervisors.reasons import Abandoned, Crashed, DeadlineExceeded, ErrorRecord, Raised, Reason, StartFailed

KINDS_KEPT = 1_000
"""Kinds that are told apart at most (arbitrary: a bound on memory, where kinds are made up as a job goes)."""
DECISIONS = ("stop", "continue", "retry", "skip")
REST = "others"


@dataclasses.dataclass
class FailureKind:
    """Failures of one routine that are of a kind.

    Args:
        routine_id: where; empty for those beyond `KINDS_KEPT`.
        kind: what they have in common, such as `raised ValueError`.
        count: how many tries ended so.
        first_at, last_at: when the first and the last were, in seconds since the epoch.
        newest: the reason of the last one that is known.
        decided: what was decided of how many of them.
    """

    routine_id: str
    kind: str
    count: int
    first_at: float
    last_at: float
    newest: Reason | None
    decided: dict[str, int]


class Failures:
    """Groups the failures of a history."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], FailureKind] = {}

    def add(self, record: ExecutionRecord) -> None:
        """Add what happened, if it was a failure or is about one."""
        if record.kind == "error":
            found = self._find(record)
            found.count += 1
            found.last_at = record.at
            found.newest = record.reason or found.newest
        elif record.kind in DECISIONS and record.reason is not None:
            found = self._find(record)
            found.decided[record.kind] = found.decided.get(record.kind, 0) + 1

    def kinds(self) -> list[FailureKind]:
        """Give the kinds, the most frequent first."""
        return sorted(self._kinds.values(), key=lambda kind: (-kind.count, kind.routine_id, kind.kind))

    def _find(self, record: ExecutionRecord) -> FailureKind:
        key = (record.routine_id, "failed" if record.reason is None else kind_of(record.reason))
        if key not in self._kinds and len(self._kinds) >= KINDS_KEPT:
            key = ("", REST)
        return self._kinds.setdefault(key, FailureKind(*key, 0, record.at, record.at, None, {}))


def texts_of(reason: Reason) -> list[tuple[str, str]]:
    """Give all the text that is known of a reason, beside its line: each with what it is."""
    texts: list[tuple[str, str]] = []
    if isinstance(reason, Raised | StartFailed):
        texts += _texts_of_error(reason.error)
    if isinstance(reason, DeadlineExceeded | Abandoned) and reason.stack:
        texts.append(("stack", reason.stack))
    if isinstance(reason, Crashed) and reason.last_output:
        texts.append(("last output", "\n".join(reason.last_output)))
    return texts


def _texts_of_error(error: ErrorRecord) -> list[tuple[str, str]]:
    parts = (("traceback", error.traceback), ("notes", "\n".join(error.notes)), ("causes", "\n".join(error.chain)))
    return [(name, text) for name, text in parts if text]
