"""The program ends while jobs and trees run: they end with it, in order, and the exit status is its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.runtime.programs import run_program, start_program

ENDINGS = {"falls off its end": ("", 0), "exits": ("sys.exit(3)", 3), "raises": ('raise ValueError("its own")', 1)}
LEFT_RUNNING = re.compile(
    r"job '\w+' of flow '\w+' still ran when the program ended and was cancelled; wait for it with job\.wait\(\)"
)


STARTS = (
    'sleep_in_a_job("process", shutdown=0.2)',
    'job = sleep_in_a_job("thread", shutdown=0.2)',
    'sleep_in_a_job("process", shutdown=0.2, keep_open=True)',
)


def split(errors: str) -> tuple[int, list[str]]:
    """Give how many jobs were told as left running, and the other lines of stderr."""
    lines = errors.splitlines()
    others = [line for line in lines if not LEFT_RUNNING.fullmatch(line)]
    return len(lines) - len(others), others


@pytest.mark.processes
@pytest.mark.parametrize(
    ("start", "ending"),
    [
        pytest.param(start, ending, marks=[] if which == number else [pytest.mark.stress])
        for number, start in enumerate(STARTS)
        for which, ending in enumerate(ENDINGS)
    ],
)
def test_a_job_that_still_runs_is_cancelled_and_gone_when_the_program_ends(
    tmp_path: Path, start: str, ending: str
) -> None:
    last, code = ENDINGS[ending]
    ended = run_program(tmp_path, f'{start}\nprint("last line")\n{last}\n')
    told, others = split(ended.errors)
    assert (ended.code, ended.out, told) == (code, "last line\n", 1)
    if code == 1:
        assert (others[0], others[3]) == ("Traceback (most recent call last):", "ValueError: its own")
        others = others[4:]
    if "thread" in start:
        assert others[0].startswith(
            "job's end: routine 'sleeper' is still in its handler on a thread, which cannot be ended"
        )
        assert others[-2] == "    time.sleep(self.seconds)"
    else:
        assert others == []


IDLE = """
    @routine
    def echo(data):
        return data

    flow = Flow("idle")
    flow.add_routine(echo, "a", placement="process", workers=2)
    flow.add_routine(echo, "b")
    flow.connect("a", "output", "b", "input")
    jobs = [flow.start(keep_open=True) for _ in range(2)]
    for job in jobs:
        job.send("a", "input", n=1)
    finished = flow.start("a", {"n": 1})
    assert finished.wait().status == "completed"
    del jobs, job  # whether somebody holds them or not
"""


@pytest.mark.processes
def test_every_job_that_still_runs_is_told_and_one_that_is_over_is_not(tmp_path: Path) -> None:
    ended = run_program(tmp_path, IDLE)
    assert (ended.code, ended.out, split(ended.errors)) == (0, "", (2, []))


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_the_end_of_a_turn_is_waited_for_when_the_program_ends(tmp_path: Path, placement: str) -> None:
    ended = run_program(
        tmp_path,
        """
        class Slow(Sleeper):
            def run(self):
                super().run()
                print("turn is over", flush=True)

        flow = Flow("slow")
        flow.add_routine(Slow(0.5), "slow", placement=sys.argv[1])
        flow.output("slow", "begun")
        job = flow.start("slow")
        await_sleep(job.id)
        """,
        placement,
    )
    label = "" if placement == "thread" else "[slow] "
    assert (ended.code, ended.out, split(ended.errors)) == (0, f"{label}turn is over\n", (1, []))


@pytest.mark.processes
def test_an_error_in_a_with_body_cancels_the_job_and_is_the_programs_own_end(tmp_path: Path) -> None:
    ended = run_program(tmp_path, 'with sleep_in_a_job("process", shutdown=0.2):\n    raise ValueError("its own")\n')
    lines = ended.errors.splitlines()
    assert (ended.code, lines[0], lines[-1]) == (1, "Traceback (most recent call last):", "ValueError: its own")
    assert split(ended.errors)[0] == 0


@pytest.mark.processes
def test_a_thread_that_waits_for_a_job_keeps_the_program_from_ending_it(tmp_path: Path) -> None:
    ended = run_program(
        tmp_path,
        """
        flow = Flow("waited")
        flow.add_routine(Sleeper(0.5), "sleeper", placement="process")
        job = flow.start("sleeper")
        await_sleep(job.id)  # before 3.12.3 Python 3.12 starts no thread once the main one has ended (gh-113964)
        threading.Thread(target=lambda: print(job.wait().status)).start()
        """,
    )
    assert (ended.code, ended.out, ended.errors) == (0, "completed\n", "")


@pytest.mark.processes
def test_ctrl_c_while_the_program_ends_cuts_the_wait_short(tmp_path: Path) -> None:
    with start_program(
        tmp_path, 'job = sleep_in_a_job("process", shutdown=600)\nprint("ready", flush=True)\n'
    ) as program:
        program.await_line("ready")
        assert program.process.stderr is not None
        assert LEFT_RUNNING.fullmatch(program.process.stderr.readline().rstrip())
        program.interrupt()
        ended = program.finish()
    assert (ended.code, ended.errors) == (0, "")


@pytest.mark.processes
def test_ctrl_c_in_the_instant_before_the_wait_is_noticed_too(tmp_path: Path) -> None:
    ended = run_program(
        tmp_path,
        """
        import _thread, atexit
        job = sleep_in_a_job("process", shutdown=600)
        ends = threading.Event()
        atexit.register(ends.set)

        def press():
            ends.wait()
            time.sleep(0.3)  # the main thread waits by now
            _thread.interrupt_main()  # a signal that the interpreter knows of, and that wakes no wait

        threading.Thread(target=press, daemon=True).start()
        """,
    )
    assert (ended.code, split(ended.errors)) == (0, (1, []))


@pytest.mark.processes
@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_program_that_ends_without_a_word_leaves_nothing_behind(tmp_path: Path, how: str) -> None:
    ended = run_program(tmp_path, f'job = sleep_in_a_job("process")\n{how}\n')
    assert (ended.code, ended.out, ended.errors) == (3 if "exit" in how else -9, "", "")


TREE = """
    import supervisors
    from supervisors import ChildSpec, Behavior

    class Saving(Behavior):
        def on_stop(self, reason, ctx):
            print(f"{type(self).__name__} ended: {reason}", flush=True)

    class Elsewhere(Saving):
        pass

    tree = supervisors.start_supervisor(
        [ChildSpec("here", Saving), ChildSpec("elsewhere", Elsewhere, backing="process")], name="tree"
    )
    pool = supervisors.start_pool(ChildSpec("one", Behavior), 2)
    supervisors.start_supervisor([ChildSpec("here", Saving)]).stop()
    sys.exit(3)
"""


@pytest.mark.processes
def test_a_supervision_tree_that_still_runs_is_stopped_in_order_when_the_program_ends(tmp_path: Path) -> None:
    ended = run_program(tmp_path, TREE)
    assert ended.code == 3
    assert ended.errors.splitlines() == [
        f"actor '{name}' still ran when the program ended and was stopped; end it by its handle's stop()"
        for name in ("tree", "pool")
    ]
    first, *others = ended.out.splitlines()
    assert first.startswith("Saving ended: shut down (asked by")
    assert others == [
        "[elsewhere] Elsewhere ended: shut down (asked by tree)",
        "Saving ended: shut down (asked by tree)",
    ]


NESTED = """
    class Outer(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)
            self.define_event("done", ["pids"])

        def run(self):
            job = sleep_in_a_job("process", shutdown=0.2)
            self.emit("done", pids=[os.getpid(), *job.ledger.accounts[0].pids])

    flow = Flow("outer")
    flow.add_routine(Outer(), "outer", placement="process")
    flow.output("outer", "done")
    state = flow.execute("outer")
    print(state.status, len(state.results()[0]["pids"]))
"""


KILLED = """
    import psutil

    def is_alive(process):
        "Whether it runs; one that nobody has reaped yet has ended, and whoever adopted it is no program of ours."
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    class Outer(Routine):
        "Starts a job in its worker, tells of it, and is killed."
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)
            self.define_event("begun", ["pids"])

        def run(self):
            job = sleep_in_a_job("process")
            for _ in range(1_001):
                self.emit("begun", pids=[os.getpid(), *job.ledger.accounts[0].pids])
            job.wait()

    flow = Flow("outer")
    flow.add_routine(Outer(), "outer", placement="process")
    flow.output("outer", "begun")
    job = flow.start("outer")
    processes = [psutil.Process(pid) for pid in next(job.results())["pids"]]
    processes[0].kill()
    print(job.wait().status, len(processes))
    left = psutil.wait_procs(processes, timeout=1.0)[1]
    print([process for process in left if is_alive(process)])
"""


@pytest.mark.processes
def test_a_killed_worker_leaves_nothing_of_the_job_that_ran_in_it(tmp_path: Path) -> None:
    ended = run_program(tmp_path, KILLED)
    assert (ended.code, ended.out) == (0, "failed 2\n[]\n")
    [line] = ended.errors.splitlines()
    assert re.match(r"routine 'outer': message [0-9a-f]{32} \(entry -> outer\), try 1 of 1: process ", line)
    assert re.search(r" was ended by SIGKILL \(peak \d+ MiB\); the job stops$", line)


@pytest.mark.processes
def test_a_job_left_running_in_a_worker_ends_with_that_worker(tmp_path: Path) -> None:
    ended = run_program(tmp_path, NESTED)
    assert (ended.code, ended.out) == (0, "completed 2\n")
    assert split(ended.errors) == (1, [])
