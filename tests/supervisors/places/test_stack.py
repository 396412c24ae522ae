"""A process tells its Python stacks when it is asked, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from supervisors.places.process.page import STACK_BYTES, create_page_file
from supervisors.places.process.stack import StackReader, stack_signal, tidy_stacks
from tests.supervisors.places.bench import PATIENCE

pytestmark = pytest.mark.processes

PROGRAM = """
import re, signal, sys, threading, time
from supervisors.places.process.stack import answer_stack_requests
answer_stack_requests(int(sys.argv[1]))
def more(count):
    more(count - 1) if count else time.sleep(600)
def deed():
    print("here", flush=True)
    {deed}
deed()
"""


@contextmanager
def answering(deed: str) -> Iterator[tuple[StackReader, int]]:
    """Give the reader and the process id of a program that is in the middle of `deed`."""
    fd = create_page_file(b"")
    command = [sys.executable, "-c", PROGRAM.format(deed=deed), str(fd)]
    with subprocess.Popen(command, pass_fds=(fd,), stdout=subprocess.PIPE) as process:
        reader = StackReader(fd)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield reader, process.pid
        finally:
            process.kill()
            reader.close()


def read_when_told(reader: StackReader) -> str:
    """Give what has been told once it is complete; the thread that was interrupted is told last."""
    end = time.monotonic() + PATIENCE
    while "<module>" not in (text := reader.read()):
        assert time.monotonic() < end
        threading.Event().wait(0.001)
    return text


@pytest.mark.parametrize("deed", ["time.sleep(600)", "sum(range(10**12))", "re.match('(a+)+$', 60 * 'a' + 'b')"])
def test_a_stack_is_told_in_the_middle_of_anything(deed: str) -> None:
    with answering(deed) as (reader, pid):
        for _ in range(2):  # the second answer is where the first one was
            reader.ask(pid)
            text = read_when_told(reader)
            assert text.startswith("Current thread ")
            assert "in deed" in text
            assert text.count("in <module>") == 1


def test_the_threads_that_do_not_block_the_signal_answer_for_the_one_that_does() -> None:
    deed = (
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start();"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(600)"
    )
    with answering(deed) as (reader, pid):
        reader.ask(pid)
        assert "in deed" in read_when_told(reader)


def test_a_stopped_process_tells_nothing_until_it_goes_on() -> None:
    with answering("time.sleep(600)") as (reader, pid):
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        reader.ask(pid)
        assert reader.read() == ""
        os.kill(pid, signal.SIGCONT)
        assert "in deed" in read_when_told(reader)


def test_what_is_over_the_region_is_not_read() -> None:
    deed = "[threading.Thread(target=more, args=(90,), daemon=True).start() for _ in range(40)]; time.sleep(600)"
    with answering(deed) as (reader, pid):
        end = time.monotonic() + PATIENCE
        size = 0
        while size < STACK_BYTES - 1 and time.monotonic() < end:  # the last byte may be a line end
            reader.ask(pid)
            threading.Event().wait(0.05)
            size = len(reader.read())
        assert STACK_BYTES - 1 <= size <= STACK_BYTES


def test_a_process_that_has_ended_is_asked_in_vain() -> None:
    with answering("pass") as (reader, pid):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        reader.ask(pid)
        assert reader.read() == ""


def test_the_signal_is_none_that_python_or_a_shell_has_a_use_for() -> None:
    number = stack_signal()
    assert number is not None
    assert signal.getsignal(number) is signal.SIG_DFL
    assert number not in {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGCHLD,
        signal.SIGRTMIN,
        signal.SIGRTMAX,
    }


DUMP = """Thread 0x2 (most recent call first):
  File "/site/supervisors/places/process/inbound.py", line 122 in _receive
  File "/site/supervisors/places/process/inbound.py", line 117 in listen
  File "/site/supervisors/places/process/deputy.py", line 117 in _serve
  File "/lib/threading.py", line 1002 in _bootstrap

Thread 0x3 (most recent call first):
  File "/home/mine.py", line 3 in beside

Current thread 0x4 (most recent call first):
  File "/home/mine.py", line 8 in work
  File "/site/supervisors/places/process/worker.py", line 97 in _run_all
  File "/site/supervisors/places/process/worker.py", line 62 in main
  File "<string>", line 9 in <module>
"""


def test_a_stack_is_told_without_the_worker_s_own_thread_and_frames_the_handler_s_first() -> None:
    assert tidy_stacks(DUMP).splitlines() == [
        "Current thread 0x4 (most recent call first):",
        '  File "/home/mine.py", line 8 in work',
        "",
        "Thread 0x3 (most recent call first):",
        '  File "/home/mine.py", line 3 in beside',
    ]
    assert tidy_stacks("") == ""
