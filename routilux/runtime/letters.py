"""What a running job holds, by the names that people give: routines, and dead letters by the beginnings of their ids.

Owns the finding. Never changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from routilux.accounts import Account
from routilux.dead_letters import DeadLetter
from routilux.errors import UnknownRoutineError
from routilux.ids import to_id
from routilux.keeping.settling import find_letter
from routilux.ledger import Ledger


def list_letters(ledger: Ledger, routine_id: str = "") -> list[DeadLetter]:
    """Give the dead letters that are kept, oldest first.

    Args:
        ledger: the job's.
        routine_id: those of this routine alone; "" for all.

    Raises:
        UnknownRoutineError: there is no such routine.
    """
    accounts = find_accounts(ledger, routine_id)
    with ledger.outside:
        letters = [letter for account in accounts for letter in account.dead_letters]
    return sorted(letters, key=lambda letter: letter.at)


def find_letters(ledger: Ledger, ids: Sequence[str], routine_id: str = "") -> list[DeadLetter]:
    """Give those that are named; one may be named twice.

    Args:
        ledger: the job's.
        ids: beginnings of the ids of their messages, of which each is of one alone; none for all.
        routine_id: those of this routine alone; "" for all.

    Raises:
        UnknownRoutineError: there is no such routine.
        NotADeadLetterError: a beginning is of none.
        OptionError: a beginning is of several.
    """
    letters = list_letters(ledger, routine_id)
    if not ids:
        return letters
    by_id = [(to_id(letter.message.key), letter) for letter in letters]
    return [find_letter(start, by_id) for start in ids]


def find_accounts(ledger: Ledger, routine_id: str) -> list[Account]:
    """Give the account of a routine, or of all where `routine_id` is "".

    Raises:
        UnknownRoutineError: there is no such routine.
    """
    return [find_account(ledger, routine_id)] if routine_id else list(ledger.accounts)


def find_account(ledger: Ledger, routine_id: str) -> Account:
    """Give the account of a routine; raises `UnknownRoutineError`."""
    for account in ledger.accounts:
        if account.plan.id == routine_id:
            return account
    raise UnknownRoutineError(routine_id, [account.plan.id for account in ledger.accounts])
