"""How a routine comes to rest while the gate of its job is held, and goes on.

Owns what its actor knows of a hold. Holds are numbered by the ledger: a command that speaks of another one than that
in force comes too late and is passed over.

A turn on the actor's own thread that waits in the middle of an emission keeps the actor from hearing of a hold: there
the gate is looked at (`RoutineActor._wait_inside_turn`), and it rests where it is. A routine whose state is read in
place rests at a boundary alone, to which the ledger lets it go (`Account.is_stopping`): its place is never held.
"""

from __future__ import annotations

from collections.abc import Callable

from routilux.accounts import Account
from routilux.ledger import Ledger
from routilux.runtime.commands import Hold, LetGo, Requeue, Rested
from supervisors.places.base import Place
from supervisors.reasons import Shutdown

REQUEUED = Shutdown("the job is paused")
"""Why a worker is ended whose message is to be run again after a pause."""

DROPPED = Shutdown("nobody waits for its turns any more")
"""Why a worker is ended all of whose messages were put back."""


class Rest:
    """The rest of one routine.

    Args:
        account: the routine's.
        ledger: the job's.
        report: tells the supervisor.
        put_back: puts all that is in hand back at once, before workers are ended one by one; None where these come back
            in their order by themselves.
    """

    def __init__(
        self,
        account: Account,
        ledger: Ledger,
        report: Callable[[Rested], None],
        put_back: Callable[[], None] | None = None,
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._report = report
        self._put_back = put_back
        self._told = 0
        self.is_held = False
        """Whether the place was told to hold."""
        self.is_requeueing = False
        """Whether workers are being ended so that what they are at can be run again later."""

    def handle(self, command: Hold | Requeue | LetGo, place: Place) -> None:
        """Carry out what the supervisor wants."""
        match command:
            case Hold(number):
                if number == self._ledger.hold:
                    self.is_held = True
                    if not self._account.is_in_place:
                        place.hold()
            case Requeue(number):
                if number == self._ledger.hold:
                    self._requeue(place)
            case LetGo():
                if self.is_held:
                    self.is_held = self.is_requeueing = False
                    if not self._account.is_in_place:
                        place.release()

    def note(self, place: Place, *, is_settled: bool) -> None:
        """Tell the supervisor, once a hold, that nothing runs here any more.

        Args:
            place: where handlers run.
            is_settled: whether no failure waits for what follows from it.
        """
        if self.is_held and is_settled and (self._account.is_in_place or place.is_still):
            self.tell()

    def tell(self) -> None:
        """Tell the supervisor, once a hold, that the routine rests; nothing while the gate is not held.

        Nor where a state is changed in place and its turn has not come to a boundary: the gate may have been held since
        that turn, in the middle of an emission, last looked whether it may go on.
        """
        account, number = self._account, self._ledger.hold
        if account.is_in_place and not account.has_stopped:
            return
        if number and number != self._told:
            self._told = number
            self._report(Rested(account.index, number))

    def _requeue(self, place: Place) -> None:
        self.is_requeueing = True
        if self._put_back is not None:
            self._put_back()
        for worker in place.workers():
            if worker.in_hand:
                place.kill(worker.number, REQUEUED)
