"""Workers come from a zygote: what they have, how they end, and what follows when it is a zygote that ends."""

from __future__ import annotations

import importlib
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisors.places.base import Lost, Port
from supervisors.places.process.launch import Launch, has_zygotes
from supervisors.places.process.spawn import spawner
from supervisors.places.process.zygotes import IDLE_LIMIT, Zygote, Zygotes, read_kind
from supervisors.reasons import Crashed, Killed, StartFailed
from tests import leaks
from tests.supervisors.places.bench import LAUNCH, PATIENCE, Bench, Driver, driven, gone

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not has_zygotes(), reason="there are zygotes on Linux alone"),
]


class Telling(Bench):
    """Tells what it has from the one that started it."""

    def parent(self, _port: Port) -> int:
        return os.getppid()

    def modules(self, _port: Port, names: list[str]) -> dict[str, bool]:
        return {name: name in sys.modules for name in names}

    def made_by(self, _port: Port, module: str) -> int:
        """The process in which the module was imported."""
        return int(sys.modules[module].PID)

    def imports(self, _port: Port, module: str) -> int:
        """The process in which the module is imported, which it is now."""
        return int(importlib.import_module(module).PID)

    def surroundings(self, _port: Port) -> list[Any]:
        mask = os.umask(0)
        os.umask(mask)
        return [
            dict(os.environ),
            sys.path,
            str(Path.cwd()),
            mask,
            resource.getrlimit(resource.RLIMIT_CORE),
            os.getpriority(os.PRIO_PROCESS, 0),
            sorted(os.sched_getaffinity(0)),
            signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN,
            Path("/proc/self/oom_score_adj").read_text().strip(),
        ]

    def drawn(self, _port: Port) -> list[Any]:
        return [random.random(), float(sys.modules["numpy.random"].random()), hash("x")]

    def hashed(self, _port: Port) -> int:
        return hash("x")

    def told_by_copy(self, _port: Port) -> list[Any]:
        """What a copy that it makes of itself says of its threads and of what it draws, and what it draws itself."""
        is_over = threading.Event()
        thread = threading.Thread(target=is_over.wait)
        thread.start()
        reader, writer = os.pipe()
        pid = os.fork()  # noqa: TID251  what a handler does
        if pid == 0:
            os.write(writer, f"{threading.active_count()} {random.random()}".encode())
            os._exit(0)
        os.waitpid(pid, 0)
        is_over.set()
        thread.join()
        told = os.read(reader, 100).split()
        os.close(reader)
        os.close(writer)
        return [int(told[0]), float(told[1]), random.random()]

    def ignores_children(self, _port: Port) -> bool:
        return signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN

    def leads(self, _port: Port) -> bool:
        """Whether it leads a session and a group of its own."""
        return os.getsid(0) == os.getpgrp() == os.getpid()


def ask(driver: Driver, *request: object) -> Any:
    seq = driver.ask(*request)
    driver.run(lambda: seq in driver.done or driver.failed or driver.lost)
    return driver.done[seq]


def zygote_of(driver: Driver) -> int:
    return int(ask(driver, "parent"))


def wait_gone(pid: int) -> None:
    """Wait for the end of a process that is somebody's zombie then."""
    assert gone(pid)


# -- What a worker has


def test_workers_are_children_of_one_process_that_is_a_child_of_the_program() -> None:
    with driven(3, service=Telling()) as driver:
        parents = {psutil.Process(worker.pid).ppid() for worker in driver.place.workers()}
        (zygote,) = parents
        assert psutil.Process(zygote).ppid() == os.getpid()
        assert psutil.Process(zygote).num_threads() == 1
        assert ask(driver, "leads")
    with driven(service=Telling()) as driver:
        assert zygote_of(driver) == zygote  # it was warm


def test_a_worker_has_what_the_program_has_at_that_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with driven(service=Telling()) as driver:
        zygote = zygote_of(driver)
        before = ask(driver, "surroundings")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    mask = os.umask(0o027)
    usr1 = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    monkeypatch.setenv("ONE", "\udcff one")
    monkeypatch.delenv("PATH")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    resource.setrlimit(resource.RLIMIT_CORE, (4096, hard))
    try:
        with driven(service=Telling()) as driver:
            assert zygote_of(driver) == zygote
            now = ask(driver, "surroundings")
        assert now[0] == dict(os.environ)
        assert now[1] == sys.path
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        os.umask(mask)
        signal.signal(signal.SIGUSR1, usr1)
    assert now[2:] == [str(tmp_path), 0o027, (4096, hard), *before[5:7], True, before[8]]
    monkeypatch.undo()
    with driven(service=Telling()) as driver:
        assert zygote_of(driver) == zygote
        assert ask(driver, "surroundings") == before


def test_how_workers_end_is_known_though_the_program_ignores_the_ends_of_its_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with driven(service=Telling()) as driver:
            assert ask(driver, "ignores_children")
            driver.ask("sink", 7)
            driver.run(lambda: driver.lost)
            ((_, reason, _),) = driver.lost
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert isinstance(reason, Crashed)
    assert reason.exit_code == 7
    with driven(service=Telling()) as driver:
        assert not ask(driver, "ignores_children")


def test_a_folder_that_has_no_name_any_more_is_where_a_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with driven() as driver:
        assert ask(driver, "echo", 1) == 1


def test_each_worker_draws_numbers_of_its_own_and_all_hash_alike() -> None:
    drawn = []
    with driven(2, service=Telling(), launch=Launch(preload=(*LAUNCH.preload, "numpy.random"))) as driver:
        for worker in range(2):
            seq = driver.ask("drawn")
            driver.place.submit(worker, [driver.waiting.pop()])
            driver.place.flush()
            driver.run(lambda seq=seq: seq in driver.done)  # type: ignore[misc]
            drawn.append(driver.done[seq])
    (one, one_np, one_hash), (other, other_np, other_hash) = drawn
    assert one != other
    assert one_np != other_np
    assert one_hash == other_hash


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_copy_that_a_worker_makes_of_itself_has_one_thread_and_draws_other_numbers() -> None:
    with driven(service=Telling()) as driver:
        threads, drawn, drawn_by_worker = ask(driver, "told_by_copy")
    assert threads == 1
    assert drawn != drawn_by_worker


def test_a_program_that_has_become_another_user_gets_another_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    with driven(service=Telling()) as driver:
        zygote = zygote_of(driver)
    monkeypatch.setattr(os, "getgroups", lambda: [12345])
    with driven(service=Telling()) as driver:
        assert zygote_of(driver) != zygote


def test_an_interpreter_with_other_variables_is_another_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    expected = subprocess.run(
        [sys.executable, "-c", "print(hash('x'))"], capture_output=True, text=True, check=True
    ).stdout
    with driven(service=Telling()) as driver:
        assert ask(driver, "hashed") == int(expected)


def test_a_zygote_is_known_by_what_the_program_has_when_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    zygotes, read_before = Zygotes(), read_kind()
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    try:
        zygote = zygotes._get(read_before, ())
        assert zygotes._get(read_kind(), ()) is zygote
        monkeypatch.undo()
        assert zygotes._get(read_kind(), ()) is not zygote
    finally:
        zygotes.close()


# -- Modules that are there from the start


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Make a module of a text; gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(text: str) -> str:
        name = f"preloaded_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    return make


def test_a_zygote_imports_what_is_named_and_workers_do_not(module: Callable[[str], str]) -> None:
    name = module("import os\nPID = os.getpid()\n")
    with driven(2, service=Telling(), launch=Launch("zygote", (*LAUNCH.preload, name))) as driver:
        assert ask(driver, "made_by", name) == zygote_of(driver)
    with driven(service=Telling()) as driver:
        assert ask(driver, "modules", [name]) == {name: False}  # of another zygote
    assert name not in sys.modules


def test_a_worker_imports_what_was_written_after_its_zygote_was_warm(module: Callable[[str], str]) -> None:
    with driven(service=Telling()) as driver:
        zygote = zygote_of(driver)
    name = module("import os\nPID = os.getpid()\n")
    with driven(service=Telling()) as driver:
        assert ask(driver, "imports", name) == driver.place.workers()[0].pid
        assert zygote_of(driver) == zygote


def test_a_spawned_worker_imports_it_itself(module: Callable[[str], str]) -> None:
    name = module("import os\nPID = os.getpid()\n")
    with driven(service=Telling(), launch=Launch("spawn", (name,))) as driver:
        assert ask(driver, "made_by", name) == driver.place.workers()[0].pid


@pytest.mark.parametrize("start_method", ["zygote", "spawn"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_failed_start_that_names_it(
    module: Callable[[str], str], text: str, told: str, start_method: Any
) -> None:
    name = module(text)
    with driven(launch=Launch(start_method, (name,))) as driver:
        ((_, reason, lost),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert lost == Lost(None, (), ())
    assert reason.error.type == "supervisors.errors.PreloadError"
    assert reason.error.text == f"preload: module {name!r} could not be imported: {told}"
    assert name in reason.error.traceback


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os; os._exit(3)", "the process that imported it exited with code 3"),
        ("import os; os.kill(os.getpid(), 11)", "the process that imported it was ended by SIGSEGV"),
        (
            "import threading; threading.Thread(target=threading.Event().wait, name='busy', daemon=True).start()",
            "it starts threads (busy), which a copy of the process has not",
        ),
    ],
)
def test_a_module_that_no_zygote_can_have_is_a_failed_start_that_names_it(
    module: Callable[[str], str], text: str, told: str
) -> None:
    name = module(text)
    with driven(launch=Launch("zygote", (name,))) as driver:
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert reason.error.text == f"preload: module {name!r} could not be imported: {told}"


def test_a_zygote_that_cannot_begin_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('not this one')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with driven(launch=Launch("zygote", ("json",))) as driver:
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert reason.error.text.endswith("exited with code 1 before it was warm: ImportError: not this one")


def test_few_zygotes_stay_warm_and_none_that_has_workers_is_ended() -> None:
    modules = [f"encodings.{name}" for name in ("cp037", "cp273", "cp424", "cp437", "cp500", "cp720")]
    with driven(launch=Launch(preload=(*LAUNCH.preload, modules[0]))) as first:
        for name in modules[1:]:
            with driven(launch=Launch(preload=(*LAUNCH.preload, name))) as driver:
                assert driver.ready
        idle = [zygote for zygote in spawner._zygotes._zygotes.values() if zygote.is_idle]
        assert len(idle) <= IDLE_LIMIT
        assert ask(first, "echo", 1) == 1
    spawner._zygotes.close()


# -- How a worker ends


def test_what_is_known_of_the_end_of_a_worker_is_what_is_known_of_a_child() -> None:
    ended: list[tuple[int, float, int | None]] = []
    with driven(note_ended=lambda *told: ended.append(told)) as driver:
        driver.ask("sink", 7)
        driver.run(lambda: driver.lost)
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, Crashed)
    assert reason.exit_code == 7
    assert reason.peak_bytes is not None
    assert 2**22 < reason.peak_bytes < 2**30
    ((_, cpu_seconds, peak_bytes),) = ended
    assert cpu_seconds > 0.0
    assert peak_bytes == reason.peak_bytes


def test_a_dead_worker_keeps_its_number_until_all_it_has_started_is_ended() -> None:
    with driven() as driver:
        bred = ask(driver, "breed")
        pid = driver.place.workers()[0].pid
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        driver.run(lambda: driver.lost)
        assert gone(bred)
        assert not psutil.pid_exists(pid)


# -- A zygote that ends


def kill_zygote(driver: Driver) -> list[int]:
    """Kill the parent of the driver's workers; gives the workers."""
    pids = [worker.pid for worker in driver.place.workers()]
    zygote = psutil.Process(pids[0]).ppid()
    os.kill(zygote, signal.SIGKILL)
    wait_gone(zygote)
    return pids


def test_its_workers_end_with_it_and_are_started_again_by_another() -> None:
    with driven(2, service=Telling()) as driver:
        before = zygote_of(driver)
        for number in range(2):
            driver.place.submit(number, [(driver.ask("wait", PATIENCE), driver.waiting.pop()[1])])
        driver.run(lambda: all(worker.current for worker in driver.place.workers()), 0.01)
        pids = kill_zygote(driver)
        driver.run(lambda: len(driver.lost) == 2)
        assert {lost.suspect for _, _, lost in driver.lost} == {2, 3}
        for _, reason, _ in driver.lost:
            assert isinstance(reason, Crashed)
            assert (reason.signal, reason.exit_code, reason.pid in pids) == (None, None, True)
            assert "nobody is left to tell how" in str(reason)
        for number in range(2):
            driver.place.start(number, b"")
        driver.run(lambda: len(driver.ready) == 4)
        driver.lost.clear()
        assert zygote_of(driver) != before
        assert not psutil.pid_exists(before)
        assert all(map(gone, pids))  # their zombies are for the system to reap


def test_one_that_was_killed_while_nobody_needed_it_is_replaced_without_a_word() -> None:
    with driven(service=Telling()) as driver:
        before = zygote_of(driver)
    os.kill(before, signal.SIGKILL)
    wait_gone(before)
    with driven(service=Telling()) as driver:
        assert driver.lost == []
        assert zygote_of(driver) != before
    assert not psutil.pid_exists(before)


@pytest.mark.parametrize("moment", range(12))
def test_one_that_is_killed_while_it_forks_costs_nothing_but_a_start(moment: int) -> None:
    with driven(service=Telling()) as driver:
        zygote = zygote_of(driver)
    process = psutil.Process(zygote)
    driver = Driver(4, service=Telling())
    try:
        for number in range(4):
            driver.place.start(number, b"")
        for _ in range(moment * 40):
            os.getppid()  # a little later each time
        process.kill()
        while not are_made_elsewhere(driver, zygote):
            driver.run(lambda: missing(driver) or are_made_elsewhere(driver, zygote))
            for number in missing(driver):
                driver.place.start(number, b"")
        driver.lost.clear()
        assert ask(driver, "parent") != zygote
        driver.close()
    finally:
        driver.place.abort()
        driver.poller.close()


def missing(driver: Driver) -> set[int]:
    return set(range(4)) - {worker.number for worker in driver.place.workers()}


def are_made_elsewhere(driver: Driver, zygote: int) -> bool:
    """Whether all are ready that there are to be, and none is of that zygote."""
    workers = driver.place.workers()
    if len(workers) < 4 or not all(worker.is_ready for worker in workers):
        return False
    try:
        return all(psutil.Process(worker.pid).ppid() != zygote for worker in workers)
    except psutil.NoSuchProcess:
        return False


def test_one_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisors.places.process.zygotes._ANSWER_SECONDS", 0.3)
    with driven(service=Telling()) as driver:
        before = zygote_of(driver)
    os.kill(before, signal.SIGSTOP)
    with driven(service=Telling()) as driver:
        assert driver.lost == []
        assert zygote_of(driver) != before
    assert not psutil.pid_exists(before)


def test_one_without_memory_or_room_refuses_or_is_replaced_and_leaves_nothing() -> None:
    with driven(service=Telling()) as driver:
        zygote = zygote_of(driver)
    resource.prlimit(zygote, resource.RLIMIT_AS, (2**20, 2**20))
    resource.prlimit(zygote, resource.RLIMIT_NOFILE, (6, 6))
    driver = Driver(service=Telling())
    try:
        driver.place.start(0, b"")
        driver.run(lambda: driver.ready or driver.lost)
        if driver.lost:
            ((_, reason, _),) = driver.lost
            assert isinstance(reason, StartFailed)
        driver.close()
    finally:
        driver.place.abort()
        driver.poller.close()
    for starved in [one for one in spawner._zygotes._zygotes.values() if one.pid == zygote or one.is_lost]:
        starved.close()


def test_a_zygote_ends_when_its_channel_does() -> None:
    zygote = Zygote(())
    zygote.warm()
    pid = zygote.pid
    zygote.close()
    assert zygote.is_lost
    assert not psutil.pid_exists(pid)
    assert zygote.reap(pid) == (None, None, None, 0.0)
    zygote.close()


# -- Several at once, and the end of the program


def test_threads_that_want_workers_at_the_same_time_get_them_from_one_zygote() -> None:
    def run(number: int) -> int:
        with driven(2, service=Telling()) as driver:
            assert ask(driver, "echo", number) == number
            parent = zygote_of(driver)
            driver.place.kill(0, Killed())
            driver.run(lambda: driver.lost)
            return parent

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(run, range(12)))) == 1


PROGRAM = """
    import os, sys, threading
    from tests.supervisors.places.bench import driven
    from supervisors.places.process.spawn import spawner

    with driven(2) as driver:
        bred = [driver.ask("breed") for _ in range(2)]
        driver.run(lambda: len(driver.done) == 2)
        (zygote,) = [zygote.pid for zygote in spawner._zygotes._zygotes.values()]
        workers = [worker.pid for worker in driver.place.workers()]
        print(zygote, spawner._guardian._process.pid, *workers, *driver.done.values(), flush=True)
        {ending}
"""


@pytest.mark.parametrize(
    "ending",
    [
        "threading.Event().wait()",  # until it is killed
        "os._exit(0)",
        "raise SystemExit(0)",
        "os.execv(sys.executable, [sys.executable, '-c', ''])",
    ],
)
def test_nothing_is_left_of_a_program_however_it_ends(ending: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM.format(ending=ending))], stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout is not None
        pids = [int(pid) for pid in program.stdout.readline().split()]
        assert len(pids) == 6
        if "wait" in ending:
            program.kill()
        program.wait(PATIENCE)
    assert [pid for pid in pids if not gone(pid)] == []


def test_the_spawner_keeps_its_zygotes_and_its_guardian_and_nothing_else_for_the_next_test() -> None:
    with driven():
        pass
    warm = leaks.list_spawning()  # whatever tests of clusters have left for their next one
    assert len(warm.threads) == 1
    assert {thread.name for thread in warm.threads} == {"supervisors-spawner"}
    assert 2 <= len(warm.pids) <= 1 + leaks.WARM_ZYGOTES
    assert len(warm.descriptors) == len(warm.pids)
    assert warm.pids <= {child.pid for child in psutil.Process().children()}
