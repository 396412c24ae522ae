"""How a worker runs requests, and reports each as done or as failed.

Owns the loop of the worker's main thread: what is run next, what the page says of it, and what becomes of those behind
one that fails, is called off or has waited. Never decides what a failure leads to.

Requests come one by one, or many as a batch that the service runs in one go. On the page a batch shows as its requests
do: whoever looks there sees which one runs, and since when. Of both kinds those that have run are reported together
(`outbound`); one of a batch that wants more than to be run is reported by itself, and the rest is begun anew.
"""

from __future__ import annotations

import math
from typing import Any, cast

from supervisors.places.base import BatchExecution, BatchService, Ran, Service, Watch, tell_failure
from supervisors.places.copies import Mark, leave_copy
from supervisors.places.process.attached import Attached
from supervisors.places.process.deputy import Deputy
from supervisors.places.process.inbound import Inbound
from supervisors.places.process.outbound import (
    LINGER_SECONDS,
    RESULTS_TOGETHER,
    Outbound,
    measure_body,
)
from supervisors.places.process.page import Page
from supervisors.places.process.port import RequestPort
from supervisors.wire.frames import Deliver, DeliverBatch, Failed, Parked


class Loop:
    """Runs requests, in order.

    Args:
        service: what runs them.
        inbound: where they come from.
        outbound: where results go.
        page: says which one runs.
        deputy: stands in while one takes long.
        attached: shared memory.
        port: what a request may do besides returning.
        mark: tells this process from copies that a request makes of it.
    """

    def __init__(
        self,
        service: Service,
        inbound: Inbound,
        outbound: Outbound,
        page: Page,
        deputy: Deputy,
        attached: Attached,
        port: RequestPort,
        mark: Mark,
    ) -> None:
        self._service = service
        self._small = service.result_type if service.result_type is not bytes else None
        """The class of results that are not weighed."""
        self._attached = attached
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._clock = page.clock
        self._deputy = deputy
        self._mark = mark
        self._port = port
        self._send_by = 0.0
        """Clock reading from which on the results of a batch do not wait for more."""

    def run(self) -> None:
        """Run requests until told to stop."""
        inbound, outbound, deputy = self._inbound, self._outbound, self._deputy
        while True:
            if not inbound.has_more:
                outbound.flush()
                deputy.rest()
            delivered = inbound.take()
            if delivered is None:
                return
            deputy.begin()
            if isinstance(delivered, Deliver):
                self._run_each(delivered)
            else:
                self._run_batch(delivered)
            if inbound.is_stopping:
                return  # the page names a request that was cut short by that, and none else

    def _run_each(  # noqa: C901, PLR0912  what each request passes is spelled out here
        self, delivered: Deliver[Any]
    ) -> None:
        """Run requests that have come together, but none behind one that fails, nor once the worker is called."""
        # The clock is read once a request, whose end is the beginning of the next.
        inbound, outbound, port, mark, now = self._inbound, self._outbound, self._port, self._mark, self._clock
        begin, note, small, ran = self._service.begin, self._page.begin, self._small, port.ran
        add_seq, add_body, add_seconds = outbound.seqs.append, outbound.bodies.append, outbound.seconds.append
        used = self._attached.used
        is_told = True
        started = now()
        self._send_by = started + LINGER_SECONDS
        for seq, request in zip(delivered.seqs, delivered.bodies, strict=True):
            if inbound.calls:
                self._heed_call()
                break
            note(ran, started, seq)
            port.seq, port.started = seq, started
            try:
                execution = begin(request, port)
                while not execution.advance():
                    if inbound.is_stopping or not port.wait_for_room():
                        # The page still names the request: that is how the parent knows it was cut short.
                        self._service.settle(accepted=False)
                        return
                body = execution.result
                if body.__class__ is not small:
                    outbound.weigh(body)
                is_told = execution.touched
                if is_told:
                    self._service.settle(accepted=True)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is this request's failure
                self._leave_if_copy(error)
                self._report_failure(seq, error, now() - started - port.parked)
                return
            if not mark[0]:
                leave_copy(None)
            port.ran = ran = ran + 1
            ended = now()
            seconds = ended - started - port.parked
            if used:
                self._attached.tell_kept()
                port.was_used = True
            add_seq(seq)
            add_body(body)
            add_seconds(seconds)
            # While the deputy listens it does not look whether something waits behind the next one.
            if ended >= self._send_by or ran % RESULTS_TOGETHER == 0 or inbound.is_listened_to:
                self._send_results(ran)
                ended = now()
            if port.was_used:
                self._attached.sent()
                port.forget()
                if inbound.has_dropped(delivered):
                    break
            started = ended
        self._page.rest(ran)
        if not is_told:
            self._service.settle(accepted=True)

    def _run_batch(self, delivered: DeliverBatch[Any]) -> None:
        """Run the requests of a batch, as `_run_each` does."""
        rest: tuple[int, Any] | None = delivered.first, delivered.batch
        self._send_by = self._clock() + LINGER_SECONDS
        while rest is not None:
            if self._inbound.calls:
                self._heed_call()
                return
            rest = self._begin_batch(delivered, *rest)

    def _begin_batch(self, delivered: DeliverBatch[Any], first: int, batch: Any) -> tuple[int, Any] | None:
        """Run a batch for as long as its requests are plain.

        Args:
            delivered: what it came by.
            first: the number of its first request.
            batch: the requests.

        Returns:
            What is still to be run, with the number of its first; None where that is nothing, or was given back.
        """
        service, outbound, port = cast("BatchService", self._service), self._outbound, self._port
        started = self._clock()
        port.seq, port.started = first, started
        self._page.begin(port.ran, started, first)
        watch = Watch(self._clock, self._mark, self._page.begin, port.ran, first)
        execution: BatchExecution | None = None
        body: Any = None
        try:
            execution = service.begin_batch(batch, port, started)
            port.begin_batch(first, execution)
            outbound.begin_batch(first, execution)
            ran = self._run_plain(execution, watch, len(batch))
            if ran is Ran.STOPPED:
                # The page still names the request: that is how the parent knows it was cut short.
                outbound.end_batch()
                service.settle(accepted=False)
                return None
            port.find()
            position, rest = execution.take_rest(ran is Ran.APART)
            if ran is Ran.APART:
                body = execution.result
                if body.__class__ is not self._small:
                    outbound.weigh(body)
            outbound.end_batch()
            service.settle(accepted=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is this request's failure
            self._leave_if_copy(error)
            port.find()
            port.ran = watch.ran + port.seq - first
            outbound.end_batch()
            self._report_failure(port.seq, error, self._clock() - port.started - port.parked)
            return None
        finally:
            port.batch = None
        port.ran = watch.ran + position
        if ran is Ran.APART and not self._report_apart(delivered, body):
            return None
        return (first + position, rest) if len(rest) else None

    def _run_plain(self, execution: BatchExecution, watch: Watch, count: int) -> Ran:
        """Run a batch until it is over, or the worker is called (both are PLAIN), or one of it is not plain.

        Args:
            execution: of the batch.
            watch: who looks on.
            count: how many requests it has.
        """
        inbound, attached = self._inbound, self._attached
        calls = inbound.calls
        while True:
            # While the deputy listens it does not look whether something waits behind the next one.
            ran = execution.run(watch, calls, -math.inf if inbound.is_listened_to else self._send_by)
            if ran is Ran.COPIED or not self._mark[0]:
                leave_copy(None)
            if ran is Ran.STOPPED:
                if inbound.is_stopping or not self._port.wait_for_room():
                    return ran
                continue
            if ran is Ran.APART:
                return ran
            if attached.used:
                attached.tell_kept()
                self._port.forget()
            # The last one may wait for those of the next batch, but not while the deputy listens, or for too long.
            position = execution.position
            is_over = position == count
            if not calls and (not is_over or inbound.is_listened_to or execution.since >= self._send_by):
                self._send_results(watch.ran + position)
            else:
                self._page.rest(watch.ran + position)
            if is_over or calls:
                return ran

    def _report_apart(self, delivered: DeliverBatch[Any], body: Any) -> bool:
        """Report the one of a batch that was not plain; False where what is behind it was given back meanwhile."""
        inbound, outbound, port = self._inbound, self._outbound, self._port
        ended = self._clock()
        seconds = ended - port.started - port.parked
        if self._attached.used:
            self._attached.tell_kept()
            port.was_used = True
        outbound.seqs.append(port.seq)
        outbound.bodies.append(body)
        outbound.seconds.append(seconds)
        if ended >= self._send_by or inbound.is_listened_to:
            self._send_results(port.ran)
        else:
            self._page.rest(port.ran)
        if not port.was_used:
            return True
        self._attached.sent()
        port.forget()
        return not inbound.has_dropped(delivered)

    def _send_results(self, ran: int) -> None:
        """Send what waits, and hear what there is to be heard: some time has gone by."""
        inbound = self._inbound
        self._page.rest(ran)
        self._outbound.flush()
        inbound.look()
        now = self._clock()
        if inbound.is_listened_to and now < self._send_by:
            # What took long is over. The processor was taken from this thread, or from one request in many; if each
            # result of those behind it went out by itself until something comes, they would cost ten times as much.
            inbound.call_off()
        self._send_by = now + LINGER_SECONDS

    def _heed_call(self) -> None:
        """Begin nothing more: what was taken goes back with all behind it, where the worker is held."""
        self._page.rest(self._port.ran)  # before the word, which may take its time
        if not self._inbound.is_stopping:
            self._outbound.send(Parked(self._inbound.hold, None))
            self._inbound.drop_all()

    def _report_failure(self, seq: int, error: BaseException, seconds: float) -> None:
        body = tell_failure(self._describe, error)
        self._port.ran += 1
        self._page.rest(self._port.ran)
        self._attached.tell_kept()
        self._outbound.send(Failed(seq, body, seconds))
        self._attached.end_turn()
        self._inbound.drop_all()
        self._port.forget()
        self._service.settle(accepted=False)

    def _describe(self, error: BaseException) -> bytes:
        body = self._service.describe_failure(error)
        measure_body(body, self._outbound.body_bound)
        return bytes(body)

    def _leave_if_copy(self, error: BaseException) -> None:
        """End a copy of the worker that the request made by fork and that came back out of it."""
        if not self._mark[0]:
            leave_copy(error)
