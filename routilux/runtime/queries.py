"""Commands to a job that are answered at once: what is asked of its ledger, or told by its cut.

Owns the answers. Waits for nothing but the job's lock, for as long as some counters and references are copied.
"""

from __future__ import annotations

import os
import time
from typing import TypeAlias, assert_never

from routilux.control import frames
from routilux.errors import JobEndedError
from routilux.ids import to_id
from routilux.jobs.actor import JobCut
from routilux.ledger import Ledger
from routilux.routing import Plan
from routilux.runtime.letters import find_account, find_accounts, find_letters, list_letters
from routilux.runtime.subject import Subject

LETTERS_TOLD = 1_000
"""Dead letters that are told, the newest (arbitrary: some 400 kB)."""
CAUSE_CHARACTERS = 300
"""Characters of why one was given up (arbitrary)."""

Query: TypeAlias = frames.Who | frames.Letters | frames.Redeliver | frames.Discard


def answer_query(query: Query, subject: Subject) -> frames.Answer:
    """Answer a query.

    Args:
        query: the query.
        subject: the job.

    Raises:
        RoutiluxError: it is refused; what its owner would be told by `Job.redeliver` and `discard`.
    """
    ledger = subject.ledger
    match query:
        case frames.Who():
            return frames.Identity(
                job_id=subject.id,
                flow_id=frames.fit(subject.flow_id),
                status=subject.status,
                created_at=subject.created_at,
                pid=os.getpid(),
                store=frames.fit(subject.store_path),
            )
        case frames.Letters(_, routine):
            return _tell_letters(ledger, routine)
        case frames.Redeliver(_, ids, routine):
            if ids:
                count = ledger.redeliver(find_letters(ledger, ids, routine), time.monotonic())
            else:
                account = find_account(ledger, routine) if routine else None
                count = ledger.redeliver_all(account, time.monotonic())
        case frames.Discard(_, ids, routine):
            count = ledger.discard(find_letters(ledger, ids, routine), time.monotonic())
        case _:
            assert_never(query)
    if count is None:
        raise JobEndedError(subject.id, "ending", "a dead letter")
    return frames.Settled(count=count)


def _tell_letters(ledger: Ledger, routine: str) -> frames.LettersTold:
    letters, offset = list_letters(ledger, routine), time.time() - time.monotonic()
    count = sum(account.dead for account in find_accounts(ledger, routine))
    told = [
        frames.Letter(
            letter.routine_id,
            to_id(letter.message.key),
            letter.attempts,
            letter.at + offset,
            frames.fit_to(letter.cause, CAUSE_CHARACTERS),
        )
        for letter in letters[-LETTERS_TOLD:]
    ]
    return frames.LettersTold(letters=told, count=count)


def tell_cut(cut: JobCut, plan: Plan) -> frames.Now:
    """Tell how the job is."""
    return frames.Now(
        str(cut.status),
        None if cut.error is None else frames.fit(cut.error),
        cut.updated_at,
        [
            frames.RoutineNow(routine.id, now.status, now.error and frames.fit(now.error), now.figures)
            for routine, now in zip(plan.routines, cut.routines, strict=True)
        ],
        cut.checkpoint,
    )
