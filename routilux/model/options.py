"""What a flow says of a routine besides the routine itself: placement and limits.

Owns the options, their defaults and their checks. Never acts on one.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Self

import msgspec

from routilux.errors import OptionError
from routilux.hints import describe_names
from routilux.model.error_handler import ErrorHandler, checked_handler
from routilux.model.launching import find_wrong_launch, normalized
from routilux.model.ray import Ray
from routilux.quantities import is_number, is_whole
from supervisors.places.process.launch import StartMethod

PLACEMENTS = ("thread", "process", "ray")
_LEAST = (("concurrency", 1), ("capacity", 1), ("max_restarts", 0), ("max_abandoned", 0))
"""Options that are whole numbers, with the least they can be."""
_OF_THE_MACHINE = ("start_method", "cpu_affinity", "niceness")
"""Options of processes that the program starts itself."""
_FOREIGN: dict[str, dict[str, str]] = {
    "thread": {
        "workers": "1 on a thread (placement='process' has several)",
        "partition_by": "None on a thread, which handles all keys itself (use placement='process')",
        "memory_limit": "None on a thread, which shares its memory (use placement='process')",
        "preload": "[] on a thread of the program (use placement='process')",
        **dict.fromkeys(_OF_THE_MACHINE, "None on a thread of the program (use placement='process')"),
        "ray": "None on a thread of the program (use placement='ray')",
    },
    "process": {
        "concurrency": "1 in a process (workers=n handles n messages at once)",
        "ray": "None in a process of this machine (use placement='ray')",
    },
    "ray": {
        "concurrency": "1 on Ray (workers=n handles n messages at once)",
        "start_method": "None on Ray, which starts the workers (what they begin with is in Ray(runtime_env=...))",
        "cpu_affinity": "None on Ray, which chooses where workers run (use Ray(num_cpus=..., label_selector=...))",
        "niceness": "None on Ray, which shares the processors out (use Ray(num_cpus=...))",
    },
}
"""By placement the options that stay as they are by themselves there, with what else to do."""
LEAST_MEMORY_BYTES = 16 * 1024 * 1024
"""Least `memory_limit`: with less no worker starts."""


class RoutineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one routine in a flow.

    Args:
        placement: `thread`: handlers run on the actor's own thread; `process`: in child processes; `ray`: in actors of
            a Ray cluster, on this machine or others. What is said below of process routines holds for those on Ray too,
            unless it says otherwise.
        workers: children of a process routine; with more than one, order is given up unless it is `ordered`. Each has
            a declared state of its own, and a message may be tried again on another: what must go on where it was, such
            as a generator that keeps its place in the state, belongs on one. A pair `(low, high)`: as many between the
            two as there is work for. The state of one that goes is kept under its number, and taken up again by the
            next one with that.
        timeout: seconds a handler may take; None for no limit. A process that takes longer is ended. A
            thread cannot be ended: it is abandoned, what it commits later is refused, and the routine goes on
            on a new one. An `async` handler is cancelled, and abandoned as a thread only if it goes on.
        max_abandoned: abandoned threads, or tasks of `async` handlers, that may still be in their handlers; with more
            the job is stopped.
        memory_limit: bytes that each worker of a process routine may hold resident, with all that it has
            started; one that holds more while it handles a message is ended. None for no limit. What it looks at of
            the memory that the job shares does not count. On Linux it
            also bounds what a worker may ask for over what it starts with, so that most of what goes over it is
            a `MemoryError` at its line; there each thread of a handler counts 8 MiB for its stack, and each
            program that it starts is bound likewise. On Ray the worker watches itself, and nothing else bounds it.
        start_method: how the workers of a process routine are started: `zygote`: forked from a bare process that has
            imported what they need, in a few milliseconds; `spawn`: by a fresh interpreter each. None: `zygote` on
            Linux, `spawn` elsewhere. Not on Ray, which starts them.
        preload: names of modules that each worker of a process routine has imported before its first message, in this
            order. A zygote imports them once for all, and a worker is ready as soon as without.
        cpu_affinity: numbers of the processors that the workers of a process routine keep to; or a list of as many
            such groups as there are workers, one for each. None: all that the program may use. Linux only; not on Ray.
        niceness: of the workers of a process routine, -20 (needs a privilege) to 19 (most yielding). None: that of the
            program. Not on Ray.
        ray: what each worker on Ray needs of the cluster, as a `Ray` or a dict of what one is made of. None: as `Ray()`
            says.
        concurrency: messages that a routine with `async` handlers handles at once, waiting for what they await. All of
            them see the state as it was committed when they began; of two that set the same key, the one that commits
            last wins.
        ordered: whether turns that run at once, by `concurrency` or on several `workers`, commit in the order in which
            their messages were taken; False: as they come to their end, which gives up order. None: with `concurrency`
            in order, on several workers not.
        partition_by: a parameter of the routine's messages: those with equal values of it go to the same worker, in
            their order, and `Routine.state` is the state of that value, kept apart from those of others. For process
            routines, with any number of workers. The values are str, int, bytes, bool, None and tuples of these.
        error_handler: what follows failures; None: the routine's own, else the flow's.
        atomic: whether nothing a turn emits goes out before its commit, however much it is (R3).
        capacity: messages its mailbox holds before it holds back those who send.
        max_restarts: replacements of workers that had committed nothing, within `restart_period`
            seconds, that are no crash loop yet; more stop the job. For each of `workers`, counted
            together: 3 allows a pool of four 12 of them, whichever workers they are.
        restart_period: seconds that a worker is up; what starts take, and the waits before them, does not count.
    """

    placement: str = "thread"
    workers: int | tuple[int, int] = 1
    timeout: float | None = None
    max_abandoned: int = 3
    memory_limit: int | None = None
    start_method: StartMethod | None = None
    preload: list[str] = []
    cpu_affinity: list[Any] | None = None
    niceness: int | None = None
    ray: Ray | None = None
    concurrency: int = 1
    ordered: bool | None = None
    partition_by: str | None = None
    error_handler: ErrorHandler | None = None
    atomic: bool = False
    capacity: int = 1_000
    max_restarts: int = 3
    restart_period: float = 5.0

    @property
    def pool(self) -> int:
        """How many workers there may be at most."""
        return self.workers[1] if isinstance(self.workers, tuple) else self.workers

    @property
    def least(self) -> int:
        """How many workers there are at least."""
        return self.workers[0] if isinstance(self.workers, tuple) else self.workers

    @property
    def runs_apart(self) -> bool:
        """Whether its handlers run apart from the program, and what they are given and give back goes as bytes."""
        return self.placement != "thread"

    @property
    def is_local(self) -> bool:
        """Whether its workers are processes that the program starts itself, on its own machine."""
        return self.placement == "process"

    @property
    def has_line(self) -> bool:
        """Whether several of its turns run at once, and commit in the order in which their messages were taken.

        With `partition_by` and without `ordered` each worker has an order of its own (`has_one_line`).
        """
        if self.concurrency > 1:
            return self.ordered is not False
        return self.partition_by is not None or (self.pool > 1 and self.ordered is True)

    @property
    def has_one_line(self) -> bool:
        """Whether that is one order for all workers."""
        return self.ordered is True or self.partition_by is None

    @property
    def states(self) -> int:
        """How many declared states it has: one a worker, or one for all keys together."""
        return self.pool if self.partition_by is None else 1

    @property
    def keeps_order(self) -> bool:
        """Whether its turns commit in the order in which their messages were taken."""
        return self.has_line or (self.pool == 1 and self.concurrency == 1)

    @classmethod
    def of(cls, routine_id: str, given: dict[str, Any]) -> Self:
        """Make them of what the author gave.

        Raises:
            OptionError: an option is unknown or has a value it cannot have.
        """
        for name in given:
            if name not in cls.__struct_fields__:
                known = describe_names(name, cls.__struct_fields__, "the options are", "there are none")
                raise OptionError(f"routine {routine_id!r}: there is no option {name!r}; {known}")
        given = normalized(given)
        if isinstance(given.get("ray"), dict):
            try:
                given["ray"] = Ray.of(given["ray"])
            except OptionError as error:
                raise OptionError(f"routine {routine_id!r}: {error}") from error
        if isinstance(given.get("workers"), list):  # as files have pairs
            given["workers"] = tuple(given["workers"])
        options = cls(**given)
        wrong = options._find_wrong()
        if wrong is not None:
            name, expected = wrong
            raise OptionError(
                f"routine {routine_id!r}: expected {name} to be {expected}, got {getattr(options, name)!r}"
            )
        checked_handler(options.error_handler, f"routine {routine_id!r}")
        return options

    def changed(self) -> dict[str, Any]:
        """Give those that differ from what they are by themselves, as `of` takes them."""
        own = type(self)()
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        changed = {name: value for name, value in values.items() if value != getattr(own, name)}
        return changed if self.ray is None else {**changed, "ray": self.ray.changed()}

    def find_foreign(self, placement: str) -> dict[str, str]:
        """Give the options that differ from what they are by themselves, and do not go with a placement.

        Args:
            placement: which.

        Returns:
            By name what the option can be there, and what to do instead.
        """
        own = type(self)()
        foreign = _FOREIGN[placement]
        return {name: told for name, told in foreign.items() if getattr(self, name) != getattr(own, name)}

    def _find_wrong(self) -> tuple[str, str] | None:
        """Give the first option with a value it cannot have, and what it can be."""
        if self.placement not in PLACEMENTS:
            return "placement", f"one of {PLACEMENTS}"
        if not _is_number_of_workers(self.workers):
            return "workers", "a whole number of at least 1, or two of them, the lower one first"
        for name, least in _LEAST:
            if not _is_whole(getattr(self, name), least):
                return name, f"a whole number of at least {least}"
        for name, is_right, expected in (
            ("restart_period", _is_positive(self.restart_period), "a number of seconds above 0"),
            ("timeout", self.timeout is None or _is_positive(self.timeout), "a number of seconds above 0, or None"),
            (
                "memory_limit",
                self.memory_limit is None or _is_whole(self.memory_limit, LEAST_MEMORY_BYTES),
                f"a whole number of bytes, at least {LEAST_MEMORY_BYTES}, or None",
            ),
            ("atomic", isinstance(self.atomic, bool), "True or False"),
            (
                "partition_by",
                self.partition_by is None or _is_name(self.partition_by),
                "the name of a parameter, or None",
            ),
            ("ordered", self.ordered is None or isinstance(self.ordered, bool), "True, False or None"),
        ):
            if not is_right:
                return name, expected
        return self._find_misplaced()

    def _find_misplaced(self) -> tuple[str, str] | None:
        """Give the first option that does not go with the placement, and what it can be there."""
        if self.ray is not None and not isinstance(self.ray, Ray):
            return "ray", "a Ray, a dict of what one is made of, or None"
        foreign = self.find_foreign(self.placement)
        return next(iter(foreign.items()), None) or find_wrong_launch(self)


def checked_shutdown(value: object) -> float:
    """Give `value` if it can be the time that turns in hand get; infinity for as long as they take.

    Raises:
        OptionError: it cannot.
    """
    if is_number(value) and value >= 0:
        return value
    raise OptionError(f"expected shutdown to be a number of seconds of at least 0, got {value!r}")


def checked_shared_memory_limit(value: object) -> int | None:
    """Give `value` if it can be how much memory a job shares; None for what that is by itself. Raises `OptionError`."""
    if value is None or (is_whole(value, 0) and value <= sys.maxsize):
        return value
    raise OptionError(f"expected shared_memory_limit to be a whole number of bytes, or None, got {value!r}")


def _is_whole(value: object, least: int) -> bool:
    return is_whole(value, least) and value <= sys.maxsize


def _is_positive(value: object) -> bool:
    return is_number(value) and 0 < value < math.inf


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _is_number_of_workers(value: object) -> bool:
    if isinstance(value, tuple):
        return len(value) == 2 and all(_is_whole(bound, 1) for bound in value) and value[0] <= value[1]  # noqa: PLR2004
    return _is_whole(value, 1)
