"""What ties one actor to others: whom it monitors, and to whom it is linked.

Owns the monitors and links of one actor, and which notices of them still count. Used by the actor's
own thread alone; what it is told by others comes through the control lane. Never ends anybody.

Theory of operation. A link is one object, known to both actors: the one that ties is its first, the
other learns of it by `Linked`, ahead of any `Exit` by it. Two that tie each other at the same time
have two links, which count as one: the first `Exit` or `unlink` ends both. Whoever unties a link,
or is told by it, takes back the watches that it stands on, so that those who live long do not
remember the many who do not.
"""

from __future__ import annotations

from supervisors.behavior import Link, Monitor, Ref
from supervisors.messages import Down, Exit, Linked, Unlinked


class Ties:
    """The monitors and links of one actor."""

    def __init__(self) -> None:
        self._monitors: set[Monitor] = set()
        self._links: dict[Ref, list[Link]] = {}

    def monitor(self, own: Ref, ref: Ref) -> Monitor:
        """Have exactly one `Down` go to `own` when `ref` ends."""
        monitor = Monitor(ref)
        self._monitors.add(monitor)
        monitor.cancel = ref.watch(lambda reason: own.signal(Down(ref, reason, monitor)))
        return monitor

    def demonitor(self, monitor: Monitor, *, flush: bool) -> None:
        """Take a monitor back; with `flush` also a notice that is on its way. Nothing happens if it is over."""
        if monitor in self._monitors and (monitor.cancel() or flush):
            self._monitors.discard(monitor)

    def link(self, own: Ref, ref: Ref) -> None:
        """Tie `own` and `ref` together; nothing happens if they are."""
        links = self._links.get(ref, [])
        if ref is own or any(link.is_tied for link in links):
            return
        link = Link((own, ref))
        self._links[ref] = [*links, link]
        ref.signal(Linked(link))
        link.cancels = (
            own.watch(lambda reason: ref.signal(Exit(own, reason, link))),
            ref.watch(lambda reason: own.signal(Exit(ref, reason, link))),
        )
        if not link.is_tied:
            link.untie()  # the other has untied it before there were watches to take back

    def unlink(self, ref: Ref) -> None:
        """Untie them."""
        for link in self._links.pop(ref, ()):
            link.untie()
            ref.signal(Unlinked(link))

    def is_current(self, notice: Down | Exit) -> bool:
        """Tell whether a notice still counts; the tie it tells of is over."""
        if isinstance(notice, Exit):
            return self._take_exit(notice)
        if notice.monitor is None:
            return True
        if notice.monitor not in self._monitors:
            return False
        self._monitors.discard(notice.monitor)
        return True

    def accept(self, own: Ref, message: Linked | Unlinked) -> None:
        """Take note of what another actor has done to a link with this one."""
        link = message.link
        other = link.other(own)
        links = [known for known in self._links.get(other, ()) if known is not link]
        if isinstance(message, Linked) and link.is_tied:
            links.append(link)
        if links:
            self._links[other] = links
        else:
            self._links.pop(other, None)

    def clear(self) -> None:
        """Watch nobody any more; those linked learn of the end by their own watch."""
        for monitor in self._monitors:
            monitor.cancel()
        self._monitors.clear()
        self._links.clear()

    def _take_exit(self, notice: Exit) -> bool:
        if not notice.link.is_tied:
            return False
        for link in self._links.pop(notice.ref, ()):
            link.untie()
        return True
