"""A tree that heals: its workers are killed while it works, and in the end all are there and no answer was wrong.

    python examples/healing.py [--seconds SECONDS] [--kill-every SECONDS] [--workers N] [--seed N] [--plain]

Uses `supervisors` alone. The tree:

    healing                 a supervisor
    ├─ counters             a pool: each counts the primes of a block of numbers, in a process of its own
    │  ├─ counter-0
    │  └─ ...
    └─ office               a supervisor of workers on threads, rest_for_one
       ├─ tally             keeps the books: takes in the answers, and checks each against a sieve
       ├─ clerk-0           has one block after another counted by the pool
       └─ ...

Meanwhile a thread that is no part of the tree does harm, at random moments: it kills a counter's process by
SIGKILL, most of the time in the middle of a block, and now and then has a clerk raise. A clerk whose counter
died is told so (`ActorEndedError`), and has another one count the block. What a supervisor starts again is
said by nobody here: it follows from the specs.

The program exits with 0 if, in the end, every worker is alive and answers, and every answer was right.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import signal
import sys
import threading
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from supervisors import (
    ActorEndedError,
    Backoff,
    Behavior,
    ChildHandle,
    ChildSpec,
    ChildStateError,
    Context,
    Intensity,
    PartitionSupervisor,
    PoolHandle,
    Supervisor,
    SupervisorHandle,
    TreeNode,
    start_supervisor,
    telemetry,
)

BLOCK = 4_000
"""Numbers in a block: some 50 milliseconds of work, so that most kills come in the middle of one."""
BLOCKS = 100
CLERKS_PER_COUNTER = 2
LOOK_EVERY = 2.0
"""Seconds between two looks at the tree."""
HEAL_SECONDS = 30.0
"""What the tree gets to be whole again after the last kill."""

# Whoever kills workers on purpose kills more of them than a crash loop would: so many restarts are wanted here.
LENIENT = Intensity(10_000, 1.0)
SOON = Backoff(delay=0.05, max_delay=0.5)

# ---- The workers


class PrimeCounter(Behavior):
    """Counts the primes of a block by trial division: work that keeps a processor busy."""

    def on_message(self, message: Any, ctx: Context) -> None:
        """Count those of block number `message`."""
        first = message * BLOCK
        ctx.reply(sum(is_prime(n) for n in range(first, first + BLOCK)))


class Clerk(Behavior):
    """Has one random block after another counted, and hands the answers to the tally.

    Args:
        pool: who counts.
        find_tally: gives who keeps the books; it is found when the first answer is there.
    """

    def __init__(self, pool: PoolHandle, find_tally: Callable[[], ChildHandle]) -> None:
        self.pool = pool
        self.find_tally = find_tally
        self.tally: ChildHandle | None = None
        self.block: int | None = None

    def on_start(self, ctx: Context) -> None:
        """Begin."""
        ctx.ref.tell("next")

    def on_message(self, message: object, ctx: Context) -> None:
        """Have one block counted, and come back for the next."""
        if message == "fail":
            raise RuntimeError("this clerk was told to fail")
        if self.tally is None:
            self.tally = self.find_tally()
        if self.block is None:
            self.block = ctx.random.randrange(BLOCKS)
        try:
            primes = self.pool.ask(self.block, timeout=HEAL_SECONDS)
        except (ActorEndedError, ChildStateError) as error:
            # The counter died, or none runs at this moment. The block stays in hand, to be asked for again.
            if isinstance(error, ActorEndedError):
                self.tally.tell("lost")
            ctx.set_timer(SOON.delay, "next")
        else:
            self.tally.tell((self.block, primes))
            self.block = None
            ctx.ref.tell("next")


class Tally(Behavior):
    """Keeps the books: answers that were right and wrong, and questions whose counter died."""

    def __init__(self) -> None:
        self.expected = primes_by_block()
        self.books = Books()

    def on_message(self, message: object, ctx: Context) -> None:
        """Take in an answer or a loss, or tell the books."""
        books = self.books
        match message:
            case (int(block), int(primes)):
                is_right = primes == self.expected[block]
                self.books = books._replace(right=books.right + is_right, wrong=books.wrong + (not is_right))
            case "lost":
                self.books = books._replace(asked_again=books.asked_again + 1)
            case "books":
                ctx.reply(books)
            case _:
                raise TypeError(f"the tally expected an answer, a loss or 'books', got {message!r}")


class Books(NamedTuple):
    """What came of the questions.

    Args:
        right: answers that were right.
        wrong: answers that were wrong.
        asked_again: questions whose counter died before it answered.
    """

    right: int = 0
    wrong: int = 0
    asked_again: int = 0


# ---- The tree


def start_tree(workers: int) -> SupervisorHandle:
    """Start the tree with so many counters, and wait until all are ready."""
    counter = ChildSpec("counter", PrimeCounter, backing="process", backoff=SOON)
    pool = ChildSpec(
        "counters", PartitionSupervisor, (counter, workers), {"intensity": LENIENT}, start_timeout=math.inf
    )
    top = start_supervisor([pool], "healing")
    counters = top.supervisor("counters", PoolHandle)
    clerks = [
        ChildSpec(f"clerk-{number}", Clerk, (counters, lambda: office(top).child("tally")), backoff=SOON)
        for number in range(CLERKS_PER_COUNTER * workers)
    ]
    options = {"strategy": "rest_for_one", "intensity": LENIENT}
    top.start_child(ChildSpec("office", Supervisor, ([ChildSpec("tally", Tally), *clerks],), options))
    return top


def office(top: SupervisorHandle) -> SupervisorHandle:
    """Give the supervisor of those who work on threads."""
    return top.supervisor("office")


def leaves(node: TreeNode) -> Iterator[TreeNode]:
    """Give the workers of a tree."""
    if node.type == "worker":
        yield node
    for child in node.children:
        yield from leaves(child)


# ---- The harm


class Killer:
    """Kills counters, and has clerks raise, at random moments; in a `with` block.

    Args:
        top: the tree.
        every: seconds between two attacks, on the average.
        seed: of the randomness.
    """

    def __init__(self, top: SupervisorHandle, every: float, seed: int) -> None:
        self._top = top
        self._every = every
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._random.expovariate(1 / self._every)):
            if self._random.random() < 0.2:  # noqa: PLR2004  one attack in five (arbitrary)
                self._fail_clerk()
            else:
                self._kill_counter()

    def _kill_counter(self) -> None:
        pids = [node.pid for node in leaves(self._top.tree()) if node.pid is not None]
        if pids:
            try:
                os.kill(self._random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return  # it has just ended by itself

    def _fail_clerk(self) -> None:
        children = office(self._top).which_children()
        refs = [child.ref for child in children if child.id.startswith("clerk") and child.ref is not None]
        if refs:
            self._random.choice(refs).signal("fail")


class Losses:
    """Counts the ends that nobody had asked for, by their reason; a telemetry handler."""

    def __init__(self) -> None:
        # Guards the counts: each supervisor tells from a thread of its own.
        self._lock = threading.Lock()
        self._counts: Counts[str] = Counts()

    def __call__(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Take in the end of a child."""
        if not metadata["is_expected"]:
            with self._lock:
                self._counts[type(metadata["reason"]).__name__] += 1

    def counts(self) -> dict[str, int]:
        """Tell how many there were, by the class of their reason."""
        with self._lock:
            return dict(self._counts)


# ---- The program


def watch(top: SupervisorHandle, seconds: float, *, is_live: bool) -> None:
    """Show the tree now and then until so many seconds are over; in place on a terminal."""
    over = threading.Event()
    while seconds > 0:
        print(("\x1b[H\x1b[J" if is_live else "") + str(top.tree()), flush=True)
        over.wait(min(seconds, LOOK_EVERY))
        seconds -= LOOK_EVERY


def find_sick(top: SupervisorHandle, workers: int) -> list[str]:
    """Wait until the tree is whole, and give the ids of those that do not run, or do not answer as they should."""
    expected = primes_by_block()
    partitions = top.supervisor("counters", PoolHandle).partitions
    sick = [partition.id for partition in partitions if ask_healed(partition, 0) != expected[0]]
    for child in office(top).which_children():
        office(top).child(child.id).wait_running(HEAL_SECONDS)
    alive = {node.id for node in leaves(top.tree()) if node.state == "running"}
    counters = [f"counter-{number}" for number in range(workers)]
    clerks = [f"clerk-{number}" for number in range(CLERKS_PER_COUNTER * workers)]
    return sick + [id_ for id_ in (*counters, "tally", *clerks) if id_ not in alive]


def ask_healed(counter: ChildHandle, block: int) -> Any:
    """Ask a counter; once more if it was killed a moment ago, which is noticed only now."""
    counter.wait_running(HEAL_SECONDS)
    asked = counter.ref
    try:
        return counter.ask(block, HEAL_SECONDS)
    except ActorEndedError:
        counter.wait_running(HEAL_SECONDS, after=asked)
        return counter.ask(block, HEAL_SECONDS)


def report(books: Books, losses: dict[str, int], tree: TreeNode) -> Iterator[str]:
    """Tell in lines what came of it."""
    workers = list(leaves(tree))
    figures = {
        "blocks counted": books.right + books.wrong,
        "right": books.right,
        "wrong": books.wrong,
        "asked again": books.asked_again,
        "deaths": sum(losses.values()),
        **{f"by {name}": count for name, count in sorted(losses.items())},
        "restarts": sum(node.restarts for node in workers),
        "workers": len(workers),
        "alive": sum(node.state == "running" for node in workers),
    }
    for name, figure in figures.items():
        yield f"{name:>16} {figure:>12,}"


def run(top: SupervisorHandle, options: argparse.Namespace) -> bool:
    """Do harm for a while, let the tree heal, and tell; True if it did and all was right."""
    losses = Losses()
    telemetry.attach("healing", ["child.ended"], losses)
    try:
        with Killer(top, options.kill_every, options.seed) if options.kill_every else nullcontext():
            watch(top, options.seconds, is_live=sys.stdout.isatty() and not options.plain)
        sick = find_sick(top, options.workers)
        books: Books = office(top).child("tally").ask("books", HEAL_SECONDS)
        tree = top.tree()
        print(tree, *report(books, losses.counts(), tree), sep="\n")
    finally:
        telemetry.detach("healing")
    for id_ in sick:
        print(f"{id_} is not alive", file=sys.stderr)
    return not sick and not books.wrong and books.right > 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run as the command line says; gives the exit status."""
    options = read_options(argv)
    # Each of the many deaths that are wanted here would be told; what goes wrong beside them is an error.
    logging.getLogger("supervisors").setLevel(logging.ERROR)
    if options.kill_every:
        print(f"doing harm about every {options.kill_every:g} s, seed {options.seed}", file=sys.stderr)
    try:
        with start_tree(options.workers) as top:
            return 0 if run(top, options) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="how long harm is done; default: 15")
    parser.add_argument(
        "--kill-every", type=float, default=0.3, metavar="SECONDS", help="on the average; 0: never; default: 0.3"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="default: one for each processor")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the harm; default: random")
    parser.add_argument("--plain", action="store_true", help="print the tree line by line, not in place")
    options = parser.parse_args(argv)
    if options.workers < 1:
        parser.error("--workers: expected 1 or more")
    if not options.seconds > 0:
        parser.error("--seconds: expected a number of seconds above 0")
    if not options.kill_every >= 0:
        parser.error("--kill-every: expected a number of seconds, 0 or more")
    return options


# ---- Primes, in two ways


def is_prime(n: int) -> bool:
    """Tell by trial division."""
    return n > 1 and all(n % divisor for divisor in range(2, math.isqrt(n) + 1))


def primes_by_block() -> list[int]:
    """Count the primes of every block by a sieve (Eratosthenes): another way than the counters go."""
    sieve = bytearray([1]) * (BLOCK * BLOCKS)
    sieve[0] = sieve[1] = 0
    for n in range(2, math.isqrt(len(sieve)) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, len(sieve), n)))
    return [sum(sieve[first : first + BLOCK]) for first in range(0, len(sieve), BLOCK)]


if __name__ == "__main__":
    sys.exit(main())
