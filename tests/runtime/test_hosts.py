"""Where programs run jobs: several threads, asyncio, pytest, a prompt; odd flags, streams and clocks."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.runtime.programs import COMMON, Ended, run_program, start_command

pytestmark = pytest.mark.processes

DOUBLES = """
    @routine
    def double(n):
        return {"n": 2 * n}

    def build(placement="process"):
        flow = Flow("doubles")
        flow.add_routine(double, "double", placement=placement)
        flow.output("double", "output")
        return flow

    def run(n, placement="process"):
        state = build(placement).execute("double", {"n": n})
        return [str(state.status), *(item["n"] for item in state.results())]
"""


def run_quietly(folder: Path, text: str, *, options: tuple[str, ...] = (), failures: int = 0) -> list[str]:
    """Run a program that ends well and says nothing on stderr but a line a failure of 'x'; give what it printed."""
    ended = run_program(folder, textwrap.dedent(DOUBLES) + textwrap.dedent(text), options=options)
    lines = ended.errors.splitlines()
    assert (ended.code, len(lines)) == (0, failures), ended.errors
    assert all(line.startswith("routine 'x': ") for line in lines), lines
    return ended.out.splitlines()


def test_jobs_are_run_from_many_threads_at_once(tmp_path: Path) -> None:
    text = """
    shared = build("thread")
    got = []

    def work(n):
        got.append((n, run(n), shared.execute("double", {"n": n}).results()))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(got) == [(n, ["completed", 2 * n], [{"n": 2 * n}]) for n in range(6)])
    """
    assert run_quietly(tmp_path, text) == ["True"]


def test_a_job_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    text = """
    jobs = []

    def start():
        jobs.append(build().start(keep_open=True))
        jobs[0].send("double", "input", n=1)
        next(jobs[0].results())

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    with jobs[0] as job:
        job.send("double", "input", n=2)
        print(next(job.results()))
    print(job.state.status)
    """
    assert run_quietly(tmp_path, text) == ["{'n': 4}", "completed"]


def test_two_jobs_of_one_program_do_not_touch_each_other(tmp_path: Path) -> None:
    text = """
    class Failing(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)

        def run(self):
            os._exit(7)

    failing = Flow("failing")
    failing.add_routine(Failing(), "x", placement="process")
    with build().start(keep_open=True) as job:
        print(failing.execute("x").error.partition(" (")[0])
        job.send("double", "input", n=2)
        print(next(job.results()))
    print(job.state.status)
    """
    lines = run_quietly(tmp_path, text, failures=1)
    assert lines[0].startswith("routine 'x': ")
    assert lines[1:] == ["{'n': 4}", "completed"]


def test_a_flow_of_the_program_is_run_by_a_handler_in_a_worker_also_while_it_runs_here(tmp_path: Path) -> None:
    text = """
    inner = build()

    @routine
    def outer(n):
        return {"n": inner.execute("double", {"n": n}).results()[0]["n"]}

    flow = Flow("outer")
    flow.add_routine(outer, "outer", placement="process")
    flow.output("outer", "output")
    with inner.start(keep_open=True):
        print(flow.execute("outer", {"n": 4}).results())
    """
    assert run_quietly(tmp_path, text) == ["[{'n': 8}]"]


def test_a_coroutine_awaits_several_jobs(tmp_path: Path) -> None:
    text = """
    import asyncio

    async def work(n):
        job = build().start("double", {"n": n})
        state = await job
        return [str(state.status), *(item["n"] for item in job.results())]

    async def main():
        return await asyncio.gather(*(work(n) for n in range(3)))

    print(asyncio.run(main()))
    thread = threading.Thread(target=lambda: print(asyncio.run(main())))
    thread.start()
    thread.join()
    """
    assert run_quietly(tmp_path, text) == ["[['completed', 0], ['completed', 2], ['completed', 4]]"] * 2


@pytest.mark.parametrize(
    "options",
    [
        *(pytest.param(options, id=" ".join(options)) for options in (("-OO",), ("-W", "error"), ("-I", "-c"))),
        *(pytest.param((flag,), id=flag, marks=pytest.mark.stress) for flag in ("-O", "-Xdev", "-u")),
    ],
)
def test_the_flags_of_the_interpreter_are_no_matter(tmp_path: Path, options: tuple[str, ...]) -> None:
    if options[-1] == "-c":  # no file: the routine is defined in the command itself
        options = (*options, f"import sys; sys.path.append({str(Path.cwd())!r}); exec(open(sys.argv[1]).read())")
    assert run_quietly(tmp_path, 'print(run(2), run(3, "thread"))', options=options) == [
        "['completed', 4] ['completed', 6]"
    ]


@pytest.mark.parametrize("streams", ["sys.stdout = None", "sys.stdout = sys.stderr = None", "sys.stdin = None"])
def test_a_program_without_standard_streams_runs_jobs_that_print(tmp_path: Path, streams: str) -> None:
    text = f"""
    @routine
    def speak(n):
        print("heard", n)
        print("heard", n, file=sys.stderr)
        return {{"n": n}}

    out = sys.stdout
    {streams}
    flow = Flow("speaks")
    flow.add_routine(speak, "process", placement="process")
    print(flow.execute("process", {{"n": 1}}).status, file=out)
    """
    ended = run_program(tmp_path, text)
    shown = ["[process] heard 1"] if "stdin" in streams else []
    assert (ended.code, ended.out.splitlines()) == (0, [*shown, "completed"])
    assert ended.errors == ("" if "stderr" in streams else "[process] heard 1\n")


def run_without(folder: Path, redirect: str) -> subprocess.CompletedProcess[str]:
    """Run a program by a shell that closes or redirects one of its streams; its status goes to `status.txt`."""
    text = """
    @routine
    def speak(n):
        print("heard", n)
        return {"n": n}

    flow = Flow("speaks")
    flow.add_routine(speak, "there", placement="process")
    flow.add_routine(speak, "here")
    state = flow.execute("there", {"n": 1})
    open("status.txt", "w").write(str(state.status))
    os._exit(0)  # the flush of a stream that cannot be written to is another matter
    """
    (folder / "program.py").write_text(textwrap.dedent(COMMON) + textwrap.dedent(text))
    with start_command(["sh", "-c", f"exec {sys.executable} program.py {redirect}"], folder) as program:
        ended = program.finish()
    return subprocess.CompletedProcess([], ended.code, ended.out, ended.errors)


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "<&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_and_full_streams_harm_no_job(tmp_path: Path, redirect: str) -> None:
    ended = run_without(tmp_path, redirect)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "status.txt").read_text() == "completed"


def test_jobs_run_under_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_tiny.py").write_text(
        textwrap.dedent(COMMON)
        + textwrap.dedent(DOUBLES)
        + textwrap.dedent("""
    class Own(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)
            self.define_event("told", ["pid"])

        def run(self):
            self.emit("told", pid=os.getpid())

    def test_doubles(capsys):
        assert run(2) == ["completed", 4]

    def test_own():
        flow = Flow("own")
        flow.add_routine(Own(), "own", placement="process")
        flow.output("own", "told")
        assert flow.execute("own").results()[0]["pid"] != os.getpid()

    def test_left_running():
        job = sleep_in_a_job("process", shutdown=0.1)
    """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "error", "."]
    with start_command(command, tmp_path) as program:
        ended = program.finish()
    assert (ended.code, ended.out.splitlines()[-1].split(" in ")[0]) == (0, "3 passed"), ended.out
    assert ended.errors.endswith("was cancelled; wait for it with job.wait()\n")
    assert len(ended.errors.splitlines()) == 1


PROMPT = """\
import os
from routilux import Flow, Routine, routine
factor = 2
@routine
def double(n):
    return {"n": factor * n, "pid": os.getpid()}

class Sum(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("input", handler=self.add)
        self.define_event("sum", ["n"])
    def add(self, n, pid):
        self.state["n"] = self.state.get("n", 0) + n
        self.emit("sum", n=self.state["n"])

flow = Flow("typed")
_ = flow.add_routine(double, "double", placement="process")
_ = flow.add_routine(Sum(), "sum", placement="process")
_ = flow.connect("double", "output", "sum", "input")
flow.output("sum", "sum")
for _ in range(2): print(flow.execute("double", {"n": 21}).results())

job = flow.start(keep_open=True)
job.send("double", "input", n=1)
print(next(job.results()))
job.close_entry(); print(job.wait().status)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["-i", "-q"],
        pytest.param(["-c", "import code; code.interact(banner='', exitmsg='')"], marks=pytest.mark.stress),
    ],
)
def test_routines_that_are_typed_at_a_prompt_run_in_processes(tmp_path: Path, command: list[str]) -> None:
    with start_command([sys.executable, *command], tmp_path) as program:
        ended: Ended = program.finish(PROMPT)
    assert ended.code == 0
    told, errors = (text.replace(">>> ", "").replace("... ", "").split("\n") for text in (ended.out, ended.errors))
    assert [line for line in told if line] == ["[{'n': 42}]", "[{'n': 42}]", "{'n': 2}", "completed"]
    assert [line for line in errors if line] == []


def test_a_prompt_that_was_interrupted_runs_the_next_job(tmp_path: Path) -> None:
    given = textwrap.dedent(COMMON).replace("\n\n    ", "\n    ") + textwrap.dedent("""

    import signal
    flow = Flow("sleepers")
    _ = flow.add_routine(Sleeper(), "sleeper", placement="process")
    timer = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]); timer.start()
    state = flow.execute("sleeper", shutdown=0.1)
    echo = routine(lambda data: data)
    again = Flow("again"); _ = again.add_routine(echo, "echo", placement="process")
    print(again.execute("echo", {"n": 1}).status)
    """)
    with start_command([sys.executable, "-i", "-q"], tmp_path) as program:
        ended = program.finish(given)
    assert (ended.code, ended.out) == (0, "completed\n")
    assert ended.errors.count("KeyboardInterrupt") == 1


JUMPS = """
    import logging, random

    logging.getLogger("routilux").setLevel(logging.CRITICAL)

    real, years = time.time, 365 * 86_400.0
    offsets = random.Random(1)
    time.time = lambda: real() + offsets.uniform(-30, 30) * years

    class Failing(Routine):
        "Fails twice, in the worker and here, then hangs for once."
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)
            self.define_event("done", ["n"])

        def run(self):
            if self.attempt <= 2:
                raise KeyError("again")
            self.emit("done", n=self.attempt)

    from routilux import ErrorHandler
    for placement in ("thread", "process"):
        flow = Flow("jumps")
        flow.add_routine(
            Failing(), "x", placement=placement, error_handler=ErrorHandler("retry", 3, retry_delay=0.05)
        )
        flow.output("x", "done")
        began = time.monotonic()
        state = flow.execute("x")
        times = [record.at for record in state.history]
        print(state.status, state.results(), times == sorted(times), time.monotonic() - began < 30)

    flow = Flow("hangs")
    flow.add_routine(Sleeper(), "x", placement="process", timeout=0.3)
    state = flow.execute("x")
    print(state.status, "0.3 s" in state.error)
    job = build("thread").start(keep_open=True)
    try:
        job.wait(0.05)
    except TimeoutError as error:
        print(type(error).__name__)
    job.cancel()
    print(job.wait().status)
"""


def test_a_wall_clock_that_jumps_by_years_changes_nothing(tmp_path: Path) -> None:
    assert run_quietly(tmp_path, JUMPS) == [
        *["completed [{'n': 3}] True True"] * 2,
        "failed True",
        "JobTimeoutError",
        "cancelled",
    ]
