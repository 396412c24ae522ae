"""A whole job on the seeded host: the same actors, simulated processes, one step at a time."""

from __future__ import annotations

import random
from concurrent.futures import Future
from typing import Any

from routilux import Flow
from routilux.jobs.actor import FactsWait, JobCut, StateActor
from routilux.ledger import Admission, Ledger
from routilux.messages import Payload
from routilux.routing import ENTRY, RoutinePlan, compile_plan
from routilux.runtime.carriers import LocalCarrier, WireCarrier
from routilux.runtime.commands import Overflow, Quiet
from routilux.runtime.job_supervisor import JobSupervisor
from routilux.runtime.routine_actor import RoutineActor
from routilux.turn.codec import LocalCodec, WireCodec
from routilux.turn.service import RoutineService
from routilux.turn.state import begin_state, decode_state
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.locking import BriefLock
from supervisors.places.scripted import Faults, ScriptedPlace
from supervisors.places.thread import ThreadPlace
from supervisors.testing import StepHost


class SeededJob:
    """A job whose every step is drawn from a seed.

    Args:
        flow: what to run; routines placed on `process` run on simulated processes.
        seed: of the order, the faults and the jitter.
        faults: what goes wrong with the simulated processes.
        max_request_bytes: the longest request that a simulated process is sent; None for no bound.
        codec: how values are encoded.
    """

    def __init__(
        self,
        flow: Flow,
        seed: int,
        faults: Faults,
        *,
        max_request_bytes: int | None = None,
        codec: ValueCodec = PICKLED,
    ) -> None:
        self.codec = codec
        self.host = StepHost(seed)
        self.plan = compile_plan(flow)
        self._seed = seed
        self._faults = faults
        self._max_request_bytes = max_request_bytes
        self.ledger = Ledger(
            self.plan,
            BriefLock(),
            on_quiet=lambda: self._root.signal(Quiet()),
            on_facts=lambda: self.supervisor.state_ref.result().signal(FactsWait()),
            on_overflow=lambda cycle: self._root.signal(Overflow(cycle)),
            codec=codec,
        )
        for account in self.ledger.accounts:
            for worker in range(account.plan.options.workers):
                account.committed[worker] = begin_state(
                    account.plan.routine, codec, by_reference=not account.plan.is_process
                )
        self.finished: Future[JobCut] = Future()
        self.state_actor = StateActor(self.ledger, 0.0, lambda message: self._root.signal(message))
        self.supervisor = JobSupervisor(
            self.ledger,
            self.state_actor,
            [self._maker(routine) for routine in self.plan.routines],
            self.finished,
            job_id="job",
            shutdown=5.0,
        )
        self._root = self.host.start(self.supervisor, "job")

    def send(self, routine_id: str, *, slot: str = ENTRY, **data: Any) -> None:
        """Put a message into a routine's entry, or another slot of it."""
        edge = self.plan.entries[routine_id, slot]
        account = self.ledger.accounts[self.plan.edges[edge].target]
        payload: Payload = self.codec.encode(data, "data") if account.takes_bytes else data
        assert self.ledger.admit(edge, payload) is Admission.ADMITTED

    def run(self, max_steps: int = 100_000) -> JobCut:
        """Run to the end, checking the books at every step."""
        self.ledger.close_entry()
        for _ in range(max_steps):
            if not self.host.step():
                break
            self.ledger.check()
        self.host.run(max_steps)
        return self.finished.result(timeout=0)

    def state(self, routine_id: str) -> Any:
        """The declared state of a routine, as committed."""
        for account in self.ledger.accounts:
            if account.plan.id == routine_id:
                routine = account.plan.routine
                return decode_state(
                    account.committed[0],
                    routine.state_type,
                    policy=routine.state_policy,
                    codec=self.codec,
                    at_rest=self.finished.done(),
                )
        raise KeyError(routine_id)

    def _maker(self, routine: RoutinePlan) -> Any:
        account = self.ledger.accounts[routine.index]

        def make_service() -> RoutineService:
            return RoutineService(
                routine.routine,
                routine.id,
                routine.incoming,
                routine.outgoing,
                job_id="seeded",
                atomic=routine.options.atomic,
                retryable=routine.error_handler.retryable_exceptions,
                codec=WireCodec(self.codec) if routine.is_process else LocalCodec(),
                values=self.codec,
                clock=self.host.now,
            )

        def make_place(listener: Any, ctx: Any, wait: Any) -> Any:
            if not routine.is_process:
                return ThreadPlace(make_service, listener, ctx.now, wait)
            place = ScriptedPlace(
                make_service,
                listener,
                random.Random(f"{self._seed}:{routine.id}"),
                workers=routine.options.workers,
                faults=self._faults,
                clock=ctx.now,
                max_request_bytes=self._max_request_bytes,
            )

            def act() -> bool:
                # As a poller's callbacks do on threads: whoever was called back looks for work again.
                if not place.tick():
                    return False
                ctx.mailbox.ring()
                return True

            self.host.add_source(act, f"place {routine.id}")
            return place

        carrier = WireCarrier(routine.outgoing, self.codec) if routine.is_process else LocalCarrier()
        return lambda report: RoutineActor(account, self.ledger, carrier, make_place, report)
