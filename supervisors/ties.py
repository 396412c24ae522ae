"""What ties one actor to others: whom it monitors, and to whom it is linked.

Owns the monitors and links of one actor, and which notices of them still count. Used by the actor's
own thread alone; what it is told by others comes through the control lane. Never ends anybody.
"""

from __future__ import annotations

from supervisors.behavior import Link, Monitor, Ref
from supervisors.messages import Down, Exit, Linked


class Ties:
    """The monitors and links of one actor."""

    def __init__(self) -> None:
        self._monitors: set[Monitor] = set()
        self._links: dict[Ref, Link] = {}

    def monitor(self, own: Ref, ref: Ref) -> Monitor:
        """Have exactly one `Down` go to `own` when `ref` ends."""
        monitor = Monitor(ref)
        self._monitors.add(monitor)
        monitor.cancel = ref.watch(lambda reason: own.signal(Down(ref, reason, monitor)))
        return monitor

    def demonitor(self, monitor: Monitor, *, flush: bool) -> None:
        """Take a monitor back; with `flush` also a notice that is on its way."""
        if monitor.cancel() or flush:
            self._monitors.discard(monitor)

    def link(self, own: Ref, ref: Ref) -> None:
        """Tie `own` and `ref` together; nothing happens if they are."""
        if ref in self._links or ref is own:
            return
        link = Link((own, ref))
        self._links[ref] = link
        ref.signal(Linked(link))
        own.watch(lambda reason: ref.signal(Exit(own, reason, link)))
        ref.watch(lambda reason: own.signal(Exit(ref, reason, link)))

    def unlink(self, ref: Ref) -> None:
        """Untie them."""
        link = self._links.pop(ref, None)
        if link is not None:
            link.is_tied = False

    def is_current(self, notice: Down | Exit) -> bool:
        """Tell whether a notice still counts; the tie it tells of is over."""
        if isinstance(notice, Exit):
            self._links.pop(notice.ref, None)
            return notice.link.is_tied
        if notice.monitor is None:
            return True
        if notice.monitor not in self._monitors:
            return False
        self._monitors.discard(notice.monitor)
        return True

    def accept(self, own: Ref, link: Link) -> None:
        """Take note of a link that another actor has made."""
        self._links.setdefault(link.other(own), link)

    def clear(self) -> None:
        """Watch nobody any more; those linked learn of the end by their own watch."""
        for monitor in self._monitors:
            monitor.cancel()
        self._monitors.clear()
        self._links.clear()
