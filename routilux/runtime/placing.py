"""Where the turns of a routine run: its place, and how messages look to that.

Owns what its options mean for the two: a thread, an event loop, processes of this machine, or workers on Ray. Never
starts one: its actor does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from routilux.accounts import Account
from routilux.errors import NotPortableError
from routilux.ledger import Ledger
from routilux.model.ray import Ray
from routilux.routing import RoutinePlan
from routilux.runtime.carriers import LocalCarrier, RemoteCarrier, WireCarrier
from routilux.runtime.failure_log import tell_origin
from routilux.runtime.hangs import warn_slow
from routilux.runtime.makers import PlaceMaker
from routilux.runtime.memory import JobMemory
from routilux.runtime.voices import Warn, WorkerVoice
from routilux.runtime.workers import launch_of
from routilux.turn.codec import LocalCodec, WireCodec, WireResult, WireResults
from routilux.turn.concurrent import ConcurrentService
from routilux.turn.keyed import KeyedService
from routilux.turn.service import RoutineService
from routilux.turn.values import Shared, ValueCodec
from supervisors.behavior import Context
from supervisors.errors import ValueEncodingError
from supervisors.parking import Poller
from supervisors.places.base import Listener, LoopListener, Place
from supervisors.places.flusher import flusher
from supervisors.places.looped import LoopPlace
from supervisors.places.ordered import OrderedListener, OrderedPlace, line_limit
from supervisors.places.process.birth import Starter
from supervisors.places.process.exchange import Exchange
from supervisors.places.process.place import START_SECONDS, ProcessPlace
from supervisors.places.thread import ThreadPlace
from supervisors.places.timed import TimedThreadPlace
from supervisors.wire.values import encode_code

if TYPE_CHECKING:
    from routilux.runtime.logbook import Logbook
    from supervisors.places.ray.nodes import Nodes
    from supervisors.places.ray.objects import ObjectTable
    from supervisors.places.ray.tunnel import RemoteStarter

_Service = TypeVar("_Service", bound=RoutineService)
CLUSTER_SECONDS = 60.0
"""What a cluster gets to be there, besides what its workers get (arbitrary: to begin one takes some 7 s)."""


def place_routine(
    account: Account,
    ledger: Ledger,
    memory: JobMemory,
    service: bytes,
    inherited: int | None,
    logbook: Logbook | None,
    nodes: Nodes | None = None,
) -> tuple[LocalCarrier | WireCarrier, PlaceMaker]:
    """Give how messages look to the place of a routine, and what makes that place.

    Args:
        account: the routine's.
        ledger: the job's.
        memory: what the job shares.
        service: what its workers become, as `carry_service` gives it; not looked at where it has none.
        inherited: a descriptor that processes of this machine keep open; None for none.
        logbook: told what its workers say; None: nobody is.
        nodes: the job's books of who is on which machine of a cluster; None: nobody asks.
    """
    routine, job_id, options = account.plan, ledger.job_id, account.plan.options
    warn = partial(warn_slow, account, tell_origin(ledger.plan, job_id, routine.id))
    if memory.objects is not None and options.placement == "ray":
        objects = memory.objects
        starter = _make_starter(account, job_id, objects, nodes)
        seconds = (options.ray or Ray()).start_timeout + CLUSTER_SECONDS
        voice = WorkerVoice(account, ledger, logbook, warn)
        return RemoteCarrier(routine.outgoing, ledger.codec, objects.lease, objects.export), _pool_place(
            account, partial(_make_pool, account, service, voice, starter=starter, start_timeout=seconds)
        )
    if options.placement == "process":
        exchange = memory.exchange(account, ledger)
        descriptors = () if inherited is None else (inherited,)
        voice = WorkerVoice(account, ledger, logbook, warn)
        return WireCarrier(routine.outgoing, ledger.codec, exchange.lease), _pool_place(
            account, partial(_make_pool, account, service, voice, inherited=descriptors, exchange=exchange)
        )
    codec = memory.codec_for(account, ledger)
    if routine.is_async:
        return LocalCarrier(), _loop_place(account, job_id, memory.codec, warn, logbook)
    if options.timeout is None:
        return LocalCarrier(), _thread_place(routine, job_id, codec, logbook)
    return LocalCarrier(), _timed_place(account, job_id, codec, options.timeout, warn, logbook)


def carry_service(routine: RoutinePlan, job_id: str, codec: ValueCodec) -> bytes:
    """Encode what the workers of a process routine become; raises `NotPortableError` where it cannot travel."""
    kind = RoutineService if routine.options.partition_by is None else KeyedService
    if routine.options.has_line and isinstance(codec, Shared):
        codec = codec.reading()
    try:
        return encode_code(service_of(kind, routine, job_id, codec, WireCodec(codec)), routine.id)
    except ValueEncodingError as error:
        raise NotPortableError(routine.id, error.path, str(error)) from error


def _make_service(routine: RoutinePlan, job_id: str, codec: ValueCodec, logbook: Logbook | None) -> RoutineService:
    return service_of(RoutineService, routine, job_id, codec, LocalCodec(), logbook)


def service_of(
    kind: type[_Service],
    routine: RoutinePlan,
    job_id: str,
    values: ValueCodec,
    codec: LocalCodec | WireCodec,
    logbook: Logbook | None = None,
) -> _Service:
    """Give what runs the turns of a routine."""
    return kind(
        routine.routine,
        routine.id,
        routine.incoming,
        routine.outgoing,
        job_id=job_id,
        atomic=routine.options.atomic,
        retryable=routine.error_handler.retryable_exceptions,
        codec=codec,
        values=values,
        logbook=logbook,
    )


def _thread_place(routine: RoutinePlan, job_id: str, codec: ValueCodec, logbook: Logbook | None) -> PlaceMaker:
    def make(listener: Listener, ctx: Context, wait: Callable[[], bool]) -> Place:
        return ThreadPlace(
            lambda: _make_service(routine, job_id, codec, logbook),
            listener,
            ctx.now,
            wait,
            urgent=ctx.mailbox.control,
            flusher=flusher,
        )

    return make


def _timed_place(
    account: Account, job_id: str, codec: ValueCodec, timeout: float, warn: Warn, logbook: Logbook | None
) -> PlaceMaker:
    routine = account.plan

    def make(listener: Listener, ctx: Context, wait: Callable[[], bool]) -> Place:  # noqa: ARG001  nothing runs here
        return TimedThreadPlace(
            ctx.ref.path,
            lambda: _make_service(routine, job_id, codec, logbook),
            listener,
            ctx.now,
            ctx.mailbox.ring,
            timeout=timeout,
            warn=warn,
            note_abandoned=account.note_abandoned,
        )

    return make


def _loop_place(account: Account, job_id: str, codec: ValueCodec, warn: Warn, logbook: Logbook | None) -> PlaceMaker:
    from supervisors.places.loop import AsyncioLoop  # noqa: PLC0415  # all others start a tenth faster without

    routine = account.plan
    options = routine.options

    def make(listener: LoopListener, ctx: Context, wait: Callable[[], bool]) -> Place:  # noqa: ARG001  nothing runs here
        incarnations = count(1)

        def make_service() -> ConcurrentService:
            return service_of(ConcurrentService, routine, job_id, codec, LocalCodec(), logbook)

        def make_loop(boot: Any) -> AsyncioLoop:
            name = f"{ctx.ref.path}/loop {next(incarnations)}"
            return AsyncioLoop(name, make_service, boot, ctx.now, ctx.mailbox.ring)

        return LoopPlace(
            make_loop,
            listener,
            ctx.now,
            limit=options.concurrency,
            # One at a time has no order to be kept.
            is_ordered=options.has_line,
            timeout=options.timeout,
            warn=warn,
            note_abandoned=account.note_abandoned,
        )

    return make


def _pool_place(
    account: Account, make_pool: Callable[[Poller, Callable[[], float], Listener], ProcessPlace]
) -> PlaceMaker:
    routine = account.plan

    def make(listener: OrderedListener, ctx: Context, wait: Callable[[], bool]) -> Place:  # noqa: ARG001  nothing runs here
        if not isinstance(ctx.parker, Poller):
            message = "the actor of a routine with workers waits at a Poller"
            raise TypeError(message)
        make_own = partial(make_pool, ctx.parker, ctx.now)
        if not routine.options.has_line:
            return make_own(listener)
        workers = routine.options.pool
        is_one = routine.options.has_one_line
        return OrderedPlace(make_own, listener, workers=workers, limit=line_limit(workers), is_one=is_one)

    return make


def _make_pool(  # noqa: PLR0913  what all have, and what only some have
    account: Account,
    service: bytes,
    voice: WorkerVoice,
    poller: Poller,
    clock: Callable[[], float],
    listener: Listener,
    *,
    start_timeout: float = START_SECONDS,
    inherited: tuple[int, ...] = (),
    starter: Starter | None = None,
    exchange: Exchange | None = None,
) -> ProcessPlace:
    """Make the place of a routine with workers; what they have and others have not is given by name."""
    routine, options = account.plan, account.plan.options
    return ProcessPlace(
        routine.id,
        service,
        options.pool,
        poller=poller,
        clock=clock,
        listener=listener,
        output=voice.show_line,
        note_log=voice.note_log,
        timeout=options.timeout,
        warn=voice.warn,
        memory_limit=options.memory_limit,
        start_timeout=start_timeout,
        inherited=inherited,
        result_type=WireResult,
        results_type=WireResults if account.takes_blocks else None,
        launch=launch_of(options),
        starter=starter,
        exchange=exchange,
        note_ended=account.note_ended,
    )


def _make_starter(account: Account, job_id: str, objects: ObjectTable, nodes: Nodes | None) -> RemoteStarter:
    from supervisors.places.ray.engine import Demand  # noqa: PLC0415  all others start without
    from supervisors.places.ray.tunnel import RemoteStarter  # noqa: PLC0415

    options = account.plan.options
    asked = options.ray or Ray()
    demand = Demand(
        asked.num_cpus,
        asked.num_gpus,
        asked.memory,
        asked.resources,
        asked.label_selector,
        asked.runtime_env,
        asked.scheduling_strategy,
    )
    return RemoteStarter(
        objects.engine,
        account.plan.id,
        f"routilux-{job_id}",
        demand,
        timeout=asked.start_timeout,
        is_weighed=options.memory_limit is not None,
        objects=objects,
        nodes=nodes,
    )
