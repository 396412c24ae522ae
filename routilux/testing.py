"""For those who write a store of their own: does it keep the rules?

Owns what a broken rule is told by. The rules are in `routilux.stores.rules`.
"""

from __future__ import annotations

from collections.abc import Callable

from routilux.stores.base import Store
from routilux.stores.rules import RULES, Bench, BrokenError

__all__ = ["StoreRuleError", "check_store"]


class StoreRuleError(AssertionError):
    """A store does not keep a rule.

    Args:
        rule: the rule's name, such as `objects are never written over`.
        how: what the store did.
    """

    def __init__(self, rule: str, how: str) -> None:
        self.rule, self.how = rule, how
        super().__init__(rule, how)

    def __str__(self) -> str:
        return f"the store breaks the rule {self.rule!r}: {self.how}"


def check_store(
    make_store: Callable[[], Store],
    *,
    reopen: Callable[[Store], Store] | None = None,
    take_over: Callable[[Store, str], None] | None = None,
) -> None:
    """Hold a store to the rules, one after the other, each with a fresh store.

    It cannot tell what becomes of the store when the program or the machine is stopped in the middle of a write.

    Args:
        make_store: gives an empty store each time.
        reopen: gives a second store of the same place, while the first is open or after it was closed; None for a
            store that has no such thing, whose jobs end with it.
        take_over: makes it so that the job it is given was taken over behind the back of its lease, which somehow
            was lost: counts its generation up. None leaves out what needs it.

    Raises:
        StoreRuleError: a rule is broken. It says which, and how.
    """
    for rule, check in RULES.items():
        store = make_store()
        try:
            check(Bench(store, reopen, take_over))
        except BrokenError as broken:
            raise StoreRuleError(rule, str(broken)) from broken.__cause__
        except Exception as error:
            raise StoreRuleError(rule, f"it raised {type(error).__name__}: {error}") from error
        finally:
            store.close()
