"""Rounds: groups of children that go down and up together, each at its own pace.

Owns the order within a group: ended one at a time, the last in order first; then, when the wait
is over, started one at a time, in order. Pure but for what it tells `Children` to do. Never decides
which children make a group.

Theory of operation. `proceed` does the one next thing towards what is wanted, and is called after
each fact. A round is over when there is nothing left to do. Rounds go on beside each other: under
`one_for_one` eight slow children start at once. A child is in one round at most: who makes a new round
takes its children out of all others first (`take_out`). Those that are forgotten and only have to end may be
in several: no harm is done by asking twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from supervisors.behavior import Answer, Context
from supervisors.children import Child, Children, ChildState


class Round:
    """One group on its way.

    Args:
        ending: children that are to be down, in order of their start.
        pending: children that are to be started after that, in order.
        delay: seconds to wait between the two.
    """

    def __init__(self, ending: Iterable[Child], pending: Iterable[Child], delay: float = 0.0) -> None:
        self.ending = list(ending)
        self.pending = list(pending)
        self.delay = delay
        self.current: Child | None = None
        """The child that is being started."""
        self.is_waiting = False
        self.answers: list[Answer] = []
        """Those who wait for it to be over."""

    def take_out(self, children: Iterable[Child]) -> None:
        """Care for `children` no more."""
        out = set(children)
        self.ending = [child for child in self.ending if child not in out]
        self.pending = [child for child in self.pending if child not in out]
        if self.current in out:
            self.current = None

    def proceed(self, keeper: Children, ctx: Context) -> bool:
        """Do the next thing; False when the round is over."""
        if self.is_waiting:
            return bool(self.pending)
        if self._is_ending(keeper, ctx):
            return True
        if self.delay and self.pending:
            delay, self.delay = self.delay, 0.0
            self.is_waiting = True
            ctx.set_timer(delay, RoundDue(self))
            return True
        return self._is_starting(keeper, ctx)

    def _is_ending(self, keeper: Children, ctx: Context) -> bool:
        # One further in front that is down already is passed by when its turn comes.
        while self.ending and not self.ending[-1].is_up:
            self.ending.pop()
        if self.ending:
            keeper.stop(self.ending[-1], ctx)
        return bool(self.ending)

    def _is_starting(self, keeper: Children, ctx: Context) -> bool:
        if self.current is not None and self.current.state is ChildState.STARTING:
            return True
        self.current = None
        while self.pending:
            child = self.pending.pop(0)
            if not child.is_up:
                self.current = child
                keeper.start(child, ctx)
                return True
        return False


class RoundDue:
    """The wait of a round is over.

    Args:
        round_: the round; it may have been given up meanwhile.
    """

    __slots__ = ("round",)

    def __init__(self, round_: Round) -> None:
        self.round = round_
