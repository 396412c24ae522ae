"""What every test runs under: the leak check, and the settings of hypothesis."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from routilux.runtime import workers
from supervisors.places.flusher import flusher
from supervisors.places.process.spawn import spawner
from tests import leaks

# Derandomized: the same examples at each run, so that a red test is red again and a green one stays green.
# `make stress` draws new ones each time; it prints the seed and, for a failure, the line that repeats it.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("tests", _COMMON, derandomize=True, max_examples=50, stateful_step_count=30)
settings.register_profile("stress", _COMMON, max_examples=2_000, stateful_step_count=60)
settings.load_profile("tests")

TESTS = Path(__file__).parent
SOCKETS = tempfile.TemporaryDirectory(prefix="routilux-")
"""Where the jobs of this process's tests take commands: apart from its neighbours', and from those of who runs them."""


def pytest_configure() -> None:
    """Mark the processes of tests before the first is started, let them hear Ctrl-C, and keep what they compile.

    Ctrl-C is ignored below a background job of a shell, which programs that a test starts inherit. And each of
    their thousands would compile both packages anew where the environment says to write no bytecode; so would, of the
    tests, each of the processes that share them out.

    Workers import the modules of tests, and these what tests are made of, which would take longer than most tests do:
    zygotes have it from the start, and what runs jobs, which modules of tests import too.
    """
    workers.MODULES = (*workers.MODULES, "routilux.runtime.resuming", "hypothesis", "pytest")
    leaks.mark_processes()
    os.environ["XDG_RUNTIME_DIR"] = SOCKETS.name
    flusher.watch(lambda: None)  # its thread is the program's, and stays
    spawner.begin()  # so too; and no zygote gets a head start, which may outlast the test that gave it
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    gc.disable()  # until all is collected
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let every second of the processes that share the tests out import their modules from the last to the first.

    In a fresh clone each would prepare all of them (the assertions are rewritten, and what comes of it is compiled and
    kept beside the module), which takes half a minute. From both ends, each process finds half of them prepared.
    """
    config = session.config
    worker_id = getattr(config, "workerinput", {}).get("workerid", "gw0")
    if int(worker_id.removeprefix("gw")) % 2 and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        for path in sorted(TESTS.rglob("test_*.py"), reverse=True):
            # What cannot be imported, or is skipped as a whole, is told of when it is collected.
            with contextlib.suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """Let no collection of garbage look through what was imported and collected, which stays to the end of the run.

    It is a million objects, for which each of the hundreds of full collections would take a third of a second; those
    while it grows would take a second in all.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Take the folder away."""
    SOCKETS.cleanup()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a process, thread, descriptor or shared-memory name behind.

    It is the first fixture of a test to be set up, so what the others close is closed when it looks.
    """
    before = leaks.take_stock()
    yield
    left = leaks.find_leaks(before)
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
