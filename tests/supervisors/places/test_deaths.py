"""However a worker dies, and whatever it does to its own descriptors, its message alone pays."""

from __future__ import annotations

import gc
import math
import os
import signal
import threading
from typing import Any

import pytest

from supervisors.places.base import Lost, Port
from supervisors.places.process.outbound import Outbound
from supervisors.places.process.stack import stack_signal
from supervisors.reasons import Crashed, ErrorRecord, ProtocolError, Reason
from supervisors.wire.frames import BootFailed, Bye, Done, Ready, Spawned, encode_frame
from supervisors.wire.values import encode
from tests.supervisors.places.bench import PATIENCE, Bench, Driver, driven, gone, own_channel

pytestmark = pytest.mark.processes

_HARMLESS = {
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGINT,  # the parent's to handle
    signal.SIGPIPE,  # ignored by Python, which raises instead
    signal.SIGXFSZ,
    stack_signal(),
}
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_REAL_TIME = set(range(signal.SIGRTMIN + 1, signal.SIGRTMAX))  # the first and the last one stand for them all
# What this program ignores (SIGHUP under `nohup`) its workers ignore too.
_IGNORED = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
DEADLY = sorted(signal.valid_signals() - _HARMLESS - _STOPPING - _REAL_TIME - _IGNORED)


class Mortal(Bench):
    """Dies in the middle of things, or robs itself of what it speaks through."""

    def part_and_die(self, port: Port) -> Any:
        port.part(encode("out"), 1)
        self.kill(port)

    def tear(self, port: Port, seq: int) -> Any:
        """Write half of a frame far over what a channel buffers, and die."""
        frame = encode_frame(Done([seq], [bytes(4_000_000)], [0.0]), 1)
        own_channel().sendall(frame[: len(frame) // 2])
        self.kill(port)

    def announce(self, _port: Port, frame: bytes) -> Any:
        own_channel().sendall(frame)
        threading.Event().wait(PATIENCE)

    def close_channel(self, _port: Port) -> Any:
        os.close(own_channel().detach())

    def close_output(self, _port: Port) -> Any:
        os.close(1)
        os.close(2)

    def close_all(self, _port: Port) -> Any:
        os.closerange(0, 1_000)

    def copy_and_die(self, port: Port) -> Any:
        """Leave a copy behind that holds all that is open."""
        pid = os.fork()  # noqa: TID251
        if pid == 0:
            threading.Event().wait(PATIENCE)
            os._exit(0)
        os.write(1, f"copied {pid}\n".encode())
        self.kill(port)

    def flood(self, _port: Port, mebibytes: int) -> Any:
        data = (b"x" * 1023 + b"\n") * 1024
        for _ in range(mebibytes):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
        return mebibytes

    def chatter(self, _port: Port) -> Any:
        """Leave a thread behind that prints without end."""

        def talk() -> None:
            while True:
                print("still here")  # noqa: T201

        threading.Thread(target=talk, daemon=True).start()

    def endure(self, _port: Port, numbers: list[int]) -> Any:
        for number in numbers:
            os.kill(os.getpid(), number)
        return numbers

    def exit_after(self, _port: Port) -> Any:
        """Die once the result is made and before it is sent."""
        outbound = next(thing for thing in gc.get_objects() if isinstance(thing, Outbound))
        outbound.flush = lambda: os._exit(1)  # type: ignore[method-assign]

    def shrink(self, _port: Port) -> Any:
        """Make every file smaller that can be found."""
        for fd in range(3, 64):
            for shorten in (lambda fd: os.ftruncate(fd, 0), lambda fd: os.truncate(f"/proc/self/fd/{fd}", 0)):
                try:
                    shorten(fd)
                except OSError:
                    continue

    def ruin(self, port: Port) -> Any:
        """Fill every file that can be found with nonsense, then die."""
        for fd in range(3, 64):
            try:
                os.pwrite(fd, b"\xff" * 4096, 0)
            except OSError:
                continue
        self.kill(port)


@pytest.mark.parametrize("number", DEADLY)
def test_every_signal_that_ends_a_worker_is_named(number: int) -> None:
    with driven() as driver:
        suspect = driver.ask("kill", number)
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, Crashed)
    assert reason.signal == number
    assert lost == Lost(suspect, (), ())


def test_a_worker_lives_on_after_every_other_signal() -> None:
    with driven(service=Mortal()) as driver:
        asked = driver.ask("endure", sorted(number for number in _HARMLESS if number is not None))
        driver.run(lambda: driver.done or driver.lost)
    assert driver.order == [asked]
    assert driver.lost == []


def test_a_death_after_a_part_and_before_the_result_names_the_request_and_keeps_the_part() -> None:
    with driven(service=Mortal()) as driver:
        suspect = driver.ask("part_and_die")
        driver.run(lambda: driver.lost)
    assert driver.parts == [(suspect, "out")]
    assert [lost for _, _, lost in driver.lost] == [Lost(suspect, (), ())]


def test_a_death_in_the_middle_of_a_large_frame_is_a_death_like_any_other() -> None:
    with driven(service=Mortal()) as driver:
        before = driver.ask("echo", 1)
        driver.run(lambda: driver.done)
        suspect = driver.ask("tear", before + 1)
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, Crashed)
    assert (reason.signal, lost) == (signal.SIGKILL, Lost(suspect, (), ()))
    assert driver.order == [before]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"SV\x01\x00" + (1).to_bytes(4, "little") + b"\xff\xff\xff\xff", "over the bound"),
        (bytes(encode_frame(Done([1], [b""], [0.0]), 2)), "expected a frame of incarnation 1, got one of 2"),
        (b"SV\x02\x00" + bytes(8), "version 2"),
        (b"SV\x01\x00" + (1).to_bytes(4, "little") + b"\x02\x00\x00\x00\xc0\xc0", "is not the protocol"),
        (bytes(encode_frame(Spawned(), 1)), "a Spawned frame when none was to come"),
        (bytes(encode_frame(Ready(1), 1)), "a Ready frame when none was to come"),
        (bytes(encode_frame(BootFailed(ErrorRecord("T", "text", "", ())), 1)), "a BootFailed frame when none"),
        (bytes(encode_frame(Bye(), 1)), "a Bye frame when none was to come"),
    ],
)
def test_a_frame_that_is_none_or_not_now_is_refused_by_its_header_or_its_kind(frame: bytes, told: str) -> None:
    with driven(service=Mortal()) as driver:
        suspect = driver.ask("announce", frame)
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, ProtocolError)
    assert told in reason.detail
    assert lost == Lost(suspect, (), ())


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 1e300])
def test_a_duration_that_cannot_be_is_not_believed(seconds: float) -> None:
    took = []
    with driven(service=Mortal()) as driver:
        driver.on_done = lambda _number, finished: took.extend(seconds for _, _, seconds, _ in finished)  # type: ignore[method-assign]
        driver.ask("announce", bytes(encode_frame(Done([1], [b""], [seconds]), 1)))
        driver.run(lambda: took)
    assert took == [0.0]


@pytest.mark.parametrize(
    ("verb", "kind"), [("close_channel", ProtocolError), ("close_all", ProtocolError), ("exit_after", Crashed)]
)
def test_a_worker_whose_results_do_not_arrive_is_found_out(verb: str, kind: type[Reason]) -> None:
    with driven(service=Mortal()) as driver:
        suspects, reasons = drive_to_the_suspect(driver, verb)
    assert suspects == [None] * (len(suspects) - 1) + [driver.culprit]
    assert len(suspects) <= 2
    assert all(isinstance(reason, kind) for reason in reasons)
    if verb == "close_channel":
        assert str(reasons[0]).endswith("it has lost its channel: OSError: [Errno 9] Bad file descriptor")


def drive_to_the_suspect(driver: Any, verb: str) -> tuple[list[int | None], list[Reason]]:
    """Run a request among many, and start again until it is named and all others are done."""
    for index in range(500):  # the window opens
        driver.ask("echo", index)
    driver.run(lambda: len(driver.done) == 500)
    others = [driver.ask("echo", index) for index in range(20)]
    driver.culprit = driver.ask(verb)
    others += [driver.ask("echo", index) for index in range(20)]
    suspects: list[int | None] = []
    while driver.culprit not in suspects:
        driver.run(lambda: len(driver.lost) > len(suspects))
        number, _, lost = driver.lost[-1]
        suspects.append(lost.suspect)
        driver.put_back((*lost.ran, *lost.unbegun))
        driver.place.start(number, b"")
    driver.run(lambda: all(seq in driver.done for seq in others))
    assert driver.order[500:] == others
    return suspects, [reason for _, reason, _ in driver.lost]


def test_a_worker_without_output_works_on_and_ends_as_asked() -> None:
    with driven(service=Mortal()) as driver:
        asked = [driver.ask("close_output"), driver.ask("echo", 1)]
        driver.run(lambda: len(driver.done) == 2 or driver.lost)
    assert driver.order == asked
    assert driver.lost == []


def test_a_copy_of_a_worker_does_not_outlive_it() -> None:
    with driven(service=Mortal()) as driver:
        suspect = driver.ask("copy_and_die")
        driver.run(lambda: driver.lost)
        copied = int(driver.lines[0][2].split()[1])
        assert gone(copied)
    assert [lost for _, _, lost in driver.lost] == [Lost(suspect, (), ())]


class Count:
    """A list of lines of which only the number is kept."""

    def __init__(self) -> None:
        self.total = 0

    def append(self, _line: object) -> None:
        self.total += 1


def test_a_flood_of_output_does_not_starve_the_neighbours() -> None:
    with driven(2, service=Mortal()) as driver:
        driver.lines = lines = Count()  # type: ignore[assignment]
        flood = driver.ask("flood", 100)
        driver.run(lambda: lines.total)
        others = [driver.ask("echo", index) for index in range(200)]
        driver.run(lambda: len(driver.done) == 201)
        driver.run(lambda: lines.total == 100 * 1024)
    assert driver.order[-1] == flood
    assert sorted(driver.order[:-1]) == others


def test_a_thread_that_goes_on_printing_keeps_nothing_up() -> None:
    with driven(service=Mortal()) as driver:
        asked = [driver.ask("chatter"), *(driver.ask("echo", index) for index in range(100))]
        driver.run(lambda: len(driver.done) == 101)
    assert driver.order == asked
    assert driver.lost == []


@pytest.mark.parametrize("verb", ["shrink", "ruin"])
def test_what_a_worker_does_to_the_files_it_finds_does_not_hurt_its_parent(verb: str) -> None:
    with driven(service=Mortal(), timeout=PATIENCE) as driver:
        asked = driver.ask(verb)
        driver.run(lambda: driver.done or driver.lost)
        listed = driver.place.workers()
        if driver.lost:
            driver.place.start(0, b"")
        after = driver.ask("echo", 1)
        driver.run(lambda: after in driver.done)
    assert len(listed) == len(driver.done) - 1
    assert [lost for _, _, lost in driver.lost] == ([] if verb == "shrink" else [Lost(None, (asked,), ())])


class Deadly:
    """A service that ends the process which unpickles it."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[object, ...]:
        return (os._exit, (9,)) if self.how == "call" else (Deadly, (self.how,), {"how": self.how})

    def __setstate__(self, state: object) -> None:
        os._exit(9)


@pytest.mark.parametrize("how", ["call", "state"])
def test_a_death_by_the_unpickling_of_the_service_is_a_crash(how: str) -> None:
    with driven(service=Deadly(how)) as driver:
        ((_, reason, lost),) = driver.lost
    assert isinstance(reason, Crashed)
    assert (reason.exit_code, lost) == (9, Lost(None, (), ()))


def test_a_pool_whose_workers_are_all_killed_at_once_comes_back() -> None:
    driver: Driver
    with driven(4) as driver:
        asked = [driver.ask("wait", 0.001) for _ in range(200)]
        driver.run(lambda: len(driver.done) >= 20)
        for worker in driver.place.workers():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        driver.run(lambda: len(driver.lost) == 4)
        for number, reason, lost in driver.lost:
            assert isinstance(reason, Crashed)
            driver.put_back((*lost.ran, *([] if lost.suspect is None else [lost.suspect]), *lost.unbegun))
            driver.place.start(number, b"")
        driver.run(lambda: len(driver.done) == 200)
    assert sorted(driver.order) == asked
