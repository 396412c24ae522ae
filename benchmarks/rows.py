"""The rows of `make bench`: routilux beside the limit of the machine, and beside its peers.

Owns who takes part in what, and with how much work. What is slow gets less of it: a rate needs a second, not a minute.
Those that take seconds to start and to end take part in one of two rounds.
"""

from __future__ import annotations

from benchmarks.contest import OURS, Entry, Figure, Row
from benchmarks.measures import ARRAY_SIZES_MB

_RAY = ("ray",)
_DASK = ("dask", "distributed")
_XOSCAR = ("xoscar",)
_LOKY = ("loky",)
_ZEROMQ = ("zmq",)

_RATE = (
    Figure("rate", "messages/s", "more"),
    Figure("cpu", "us of CPU a message"),
)
_TRIPS = (
    Figure("p50", "us"),
    Figure("p99", "us"),
    Figure("p50 at half load", "us"),
    Figure("p99 at half load", "us"),
)
_ARRAYS = tuple(Figure(f"{size} MB", "GB/s", "more") for size in ARRAY_SIZES_MB)


def _clusters(name: str, *, xoscar: int = 1, ray: int = 1, dask: int = 1) -> tuple[Entry, ...]:
    """Give those that take seconds to start and to end, each with its class of that name and a divisor."""
    return (
        Entry("xoscar", f"xoscar:{name}", _XOSCAR, divisor=xoscar, every=2),
        Entry("Ray", f"ray:{name}", _RAY, divisor=ray, every=2),
        Entry("Dask", f"dask:{name}", _DASK, divisor=dask, every=2),
    )


def _on_ray(name: str, divisor: int = 1) -> tuple[Entry, ...]:
    """Give our routines on Ray, and its own actors, each with its class of that name."""
    return (
        Entry(OURS, f"on_ray:{name}", _RAY),
        Entry("Ray's own actors", f"ray:{name}", _RAY, divisor=divisor),
    )


_TRIP_ENTRIES = (
    Entry(OURS, "flows:Echo"),
    Entry("limit: a pipe there and back", "raw:PingPong"),
    Entry("multiprocessing.Pipe", "multiprocessing:PipeEcho"),
    Entry("ZeroMQ, REQ and REP", "zeromq:Echo", _ZEROMQ),
    Entry("ProcessPoolExecutor", "executors:Echo"),
    Entry("loky", "executors:Echo", _LOKY, options={"kind": "loky"}),
    *_clusters("Echo", ray=2, dask=4),
)

ROWS: tuple[Row, ...] = (
    Row(
        "hops-threads",
        "source -> A -> B -> sink on threads, a dict of two fields",
        "rate",
        40_000,
        _RATE,
        (
            Entry(OURS, "flows:Pipeline", options={"placement": "thread"}),
            Entry("limit: SimpleQueue and threads", "raw:Threads"),
            Entry("Pykka", "pykka:Pipeline"),
        ),
    ),
    Row(
        "hops-processes",
        "source -> A -> B -> sink, A and B in processes, a dict of two fields",
        "rate",
        40_000,
        _RATE,
        (
            Entry(OURS, "flows:Pipeline", options={"placement": "process"}),
            Entry("limit: batches over raw pipes", "raw:Batches"),
            Entry("multiprocessing.Pipe", "multiprocessing:PipePipeline"),
            Entry("multiprocessing.Queue", "multiprocessing:QueuePipeline"),
            Entry("multiprocessing.Pool", "multiprocessing:PoolPipeline", divisor=4),
            Entry("ZeroMQ by hand", "zeromq:Pipeline", _ZEROMQ),
            Entry("ProcessPoolExecutor", "executors:Pipeline", divisor=20),
            Entry("loky", "executors:Pipeline", _LOKY, divisor=20, options={"kind": "loky"}),
            *_clusters("Pipeline", xoscar=20, ray=40, dask=80),
        ),
    ),
    Row("trip-one-core", "one message to a process and back, one core", "trips", 1_000, _TRIPS, _TRIP_ENTRIES, cores=1),
    Row(
        "trip-two-cores", "one message to a process and back, two cores", "trips", 1_000, _TRIPS, _TRIP_ENTRIES, cores=2
    ),
    Row(
        "arrays",
        "NumPy arrays to a process, each answered by a new one of its size; both ways added up",
        "arrays",
        128,
        _ARRAYS,
        (
            Entry(OURS, "flows:Echo"),
            Entry("routilux, made in place", "flows:Echo", options={"in_place": True}),
            Entry("limit: raw shared memory", "raw:SharedArrays"),
            Entry("multiprocessing.Pipe", "multiprocessing:PipeEcho"),
            Entry("ProcessPoolExecutor", "executors:Echo"),
            Entry("loky", "executors:Echo", _LOKY, options={"kind": "loky"}),
            Entry("ZeroMQ, REQ and REP", "zeromq:Echo", _ZEROMQ),
            *_clusters("Echo"),
        ),
    ),
    Row(
        "arrays-ahead",
        "the same, four on their way at a time; the limit has two",
        "arrays",
        1_024,
        _ARRAYS,
        (
            Entry(OURS, "flows:EchoAhead"),
            Entry("routilux, made in place", "flows:EchoAhead", options={"in_place": True}),
            Entry("limit: raw shared memory", "raw:SharedArrays", options={"ahead": 2}),
        ),
    ),
    Row(
        "ray-hops",
        "source -> A -> B -> sink, A and B on Ray, a dict of two fields",
        "rate",
        20_000,
        _RATE,
        _on_ray("Pipeline", divisor=20),
    ),
    Row(
        "ray-trip",
        "one message to an actor of Ray and back",
        "trips",
        1_000,
        _TRIPS,
        _on_ray("Echo"),
    ),
    Row(
        "ray-arrays",
        "NumPy arrays to an actor of Ray, each answered by a new one of its size; both ways added up",
        "arrays",
        2_048,
        _ARRAYS,
        _on_ray("Echo"),
    ),
    Row(
        "ray-arrays-ahead",
        "the same, four on their way at a time",
        "arrays",
        2_048,
        _ARRAYS,
        _on_ray("EchoAhead"),
    ),
    Row(
        "start",
        "process actors, each ready when it has answered; memory while idle",
        "start",
        16,
        (
            Figure("first", "ms, from nothing"),
            Figure("one more", "ms"),
            Figure("16 more", "ms"),
            Figure("USS each", "MB"),
        ),
        (
            Entry(OURS, "actors:Starter"),
            Entry("multiprocessing, fork", "multiprocessing:Starter", options={"method": "fork"}),
            Entry("multiprocessing, forkserver", "multiprocessing:Starter", options={"method": "forkserver"}),
            Entry("multiprocessing, spawn", "multiprocessing:Starter", options={"method": "spawn"}),
            Entry("ProcessPoolExecutor, fork", "executors:Starter", options={"kind": "fork"}),
            Entry("loky", "executors:Starter", _LOKY, options={"kind": "loky"}),
            *_clusters("Starter"),
        ),
    ),
    Row(
        "cpu",
        "64 tasks of 50 ms of processor time on two processes",
        "burn",
        64,
        (Figure("over ideal", "x the least time"), Figure("cpu", "x the least CPU")),
        (
            Entry(OURS, "flows:Tasks"),
            Entry("limit: two bare processes", "raw:Tasks"),
            Entry("multiprocessing.Pool", "multiprocessing:PoolTasks"),
            Entry("ProcessPoolExecutor", "executors:Tasks"),
            Entry("loky", "executors:Tasks", _LOKY, options={"kind": "loky"}),
            *_clusters("Tasks"),
        ),
        cores=2,
    ),
    Row(
        "kill",
        "SIGKILL in a handler until a message is handled again; pools break, and take no part",
        "kills",
        5,
        (Figure("median", "ms"), Figure("longest", "ms")),
        (
            Entry(OURS, "flows:Deaths"),
            Entry("Ray", "ray:Deaths", _RAY, every=2),
            Entry("Dask", "dask:Deaths", _DASK, every=2),
        ),
    ),
    Row(
        "state",
        "source -> a routine on a thread that changes one key of its state each turn",
        "rate",
        20_000,
        _RATE,
        (
            Entry("10 keys", "flows:State", options={"keys": 10}),
            Entry("100,000 keys", "flows:State", options={"keys": 100_000}),
        ),
        reference="10 keys",
    ),
    Row(
        "kept-threads",
        "source -> A -> B -> sink on threads, without a store and with one",
        "rate",
        40_000,
        _RATE,
        (
            Entry("without a store", "flows:Pipeline", options={"placement": "thread"}),
            Entry("with a store", "flows:Pipeline", options={"placement": "thread", "kept": True}),
        ),
        reference="without a store",
    ),
    Row(
        "kept-processes",
        "source -> A -> B -> sink, A and B in processes, without a store and with one",
        "rate",
        40_000,
        _RATE,
        (
            Entry("without a store", "flows:Pipeline", options={"placement": "process"}),
            Entry("with a store", "flows:Pipeline", options={"placement": "process", "kept": True}),
        ),
        reference="without a store",
    ),
    Row(
        "idle",
        "nothing to do, with two processes",
        "idle",
        20,
        (Figure("share", "% of a core"),),
        (
            Entry(OURS, "flows:Idle"),
            *_clusters("Starter"),
        ),
    ),
)
