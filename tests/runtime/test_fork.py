"""A program that forks while jobs run: the copy is told so at once, can run jobs of its own, and harms nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.programs import run_program

pytestmark = pytest.mark.processes

FORK = """
    import warnings
    from routilux import JobState
    from routilux.errors import ForkedJobError

    # From Python 3.12 on, of each fork of a program with threads: what such a program does is what is tested.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

    @routine
    def double(n):
        return {"n": 2 * n}

    def build(placement):
        flow = Flow("doubles")
        flow.add_routine(double, "double", placement=placement)
        flow.output("double", "output")
        return flow

    flow = build("process")
    flow.add_routine(double, "other")
    job = flow.start(keep_open=True)
    job.send("double", "input", n=1)
    assert next(job.results()) == {"n": 2}

    def in_a_copy(act, leave=lambda: os._exit(0)):
        "Let a forked copy do something; give its exit status."
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            act()
            sys.stdout.flush()
            leave()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def finish():
        "The original's job is untouched."
        job.send("double", "input", n=21)
        assert next(job.results()) == {"n": 42}
        job.close_entry()
        print(job.wait().status)
"""

USES = """
    def use():
        state = lambda: JobState.wait_for_completion(flow, snapshot)
        for call in (
            job.wait, lambda: job.wait(0), job.cancel, job.cancel_and_wait, lambda: job.send("double", "input", n=1),
            lambda: job.put("double", "", {}), job.close_entry, lambda: next(job.results()), job.collect,
            lambda: job.stream("double", "output"), lambda: next(stream), stream.close, job.__enter__,
            lambda: next(job.__await__()),
            lambda: job.state, lambda: job.status, lambda: job.is_over, lambda: job.dead_letters, lambda: job.ledger,
            lambda: job.__exit__(None, None, None), state,
        ):
            try:
                call()
            except ForkedJobError as error:
                assert (error.job_id, error.pid) == (job.id, os.getppid())
                told = str(error)
            else:
                print("no error from", call)
        assert repr(job) == f"Job('{job.id}', flow='doubles', in process {os.getppid()})"
        print(told.replace(job.id, "J").replace(str(os.getppid()), "P"))

    stream = job.stream("double", "output")
    snapshot = job.state
    print(in_a_copy(use))
    finish()
"""


def test_every_use_of_a_job_in_a_forked_copy_is_refused_at_once(tmp_path: Path) -> None:
    ended = run_program(tmp_path, FORK + USES)
    assert (ended.code, ended.errors) == (0, "")
    told, *others = ended.out.splitlines()
    assert told == (
        "job 'J' runs in process P, this is a copy of it made by fork: it can be used there alone; a job that is "
        "started here runs here"
    )
    assert others == ["0", "completed"]


LOCKS = """
    import gc, logging

    LOCKS = (type(threading.Lock()), type(threading.RLock()))

    def locks_of(prefixes):
        "Every lock that a module of these packages holds by a name, or an object or class that it holds by one."
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in prefixes:
                for value in list(vars(module).values()):
                    yield value
                    if type(value).__module__.partition(".")[0] in prefixes or isinstance(value, type):
                        yield from list(getattr(value, "__dict__", {}).values())

    def fork_with_locks_held(act):
        is_held, is_forked = threading.Event(), threading.Event()

        def hold():
            held = {id(lock): lock for lock in locks_of({"routilux", "supervisors", "pykka", "cloudpickle"})
                    if isinstance(lock, LOCKS)}
            for lock in held.values():
                lock.acquire()
            print(len(held) >= 5, flush=True)  # or else a copy has it to print, too
            is_held.set()
            is_forked.wait()
            for lock in held.values():
                lock.release()

        thread = threading.Thread(target=hold)
        thread.start()
        is_held.wait()
        pid = os.fork()
        if pid == 0:
            act()
            sys.stdout.flush()
            os._exit(0)
        is_forked.set()
        thread.join()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def run_jobs():
        class Local(Routine):
            "Carried by value, which takes a lock of cloudpickle's."
            def __init__(self):
                super().__init__()
                self.define_slot("trigger", handler=self.run)

            def run(self):
                pass

        for placement in ("thread", "process"):
            print(build(placement).execute("double", {"n": 4}).results())
        flow = Flow("local")
        flow.add_routine(Local(), "local", placement="process")
        print(flow.execute("local").status, flow.flow_id)

    print(fork_with_locks_held(run_jobs))
    finish()
"""


def test_a_forked_copy_runs_jobs_of_its_own_whatever_locks_were_held(tmp_path: Path) -> None:
    ended = run_program(tmp_path, FORK + LOCKS)
    assert (ended.code, ended.errors) == (0, "")
    assert ended.out.splitlines() == ["True", *["[{'n': 8}]"] * 2, "completed local", "0", "completed"]


LEAVING = {
    "sys.exit": "sys.exit(5)",
    "a job of its own left running": 'left = build("process").start(keep_open=True); sys.exit(5)',
}


@pytest.mark.parametrize("how", LEAVING)
def test_a_forked_copy_that_ends_ends_nothing_of_the_original(tmp_path: Path, how: str) -> None:
    text = f"""
    def leave():
        {LEAVING[how]}

    print(in_a_copy(lambda: None, leave))
    finish()
    """
    ended = run_program(tmp_path, FORK + text)
    assert (ended.code, ended.out) == (0, "5\ncompleted\n")
    if "own" in how:
        assert "of flow 'doubles' still ran when the program ended" in ended.errors
    else:
        assert ended.errors == ""


def test_a_forked_copy_may_leave_a_with_body_by_an_exit_of_its_own(tmp_path: Path) -> None:
    text = """
    with flow.start(keep_open=True) as another:
        pid = os.fork()
        if pid == 0:
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    finish()
    """
    ended = run_program(tmp_path, FORK + text)
    assert (ended.code, ended.out, ended.errors) == (0, "5\ncompleted\n", "")


def test_a_flow_may_be_changed_and_its_objects_started_in_a_forked_copy(tmp_path: Path) -> None:
    text = """
    def change():
        other = build("thread")
        flow.add_routine(double, "new")
        print(flow.execute("new", {"n": 1}).status)

    print(in_a_copy(change))
    finish()
    """
    ended = run_program(tmp_path, FORK + text)
    assert (ended.code, ended.out, ended.errors) == (0, "completed\n0\ncompleted\n", "")


def test_processes_of_the_programs_own_run_beside_a_job(tmp_path: Path) -> None:
    text = """
    import multiprocessing

    multiprocessing.set_start_method("fork")

    def work(queue):
        queue.put(build("process").execute("double", {"n": 8}).results())

    queue = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    print([queue.get(timeout=30) for _ in processes])
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])
    with multiprocessing.Pool(2) as pool:
        print(pool.map(abs, [-1, -2]))
    finish()
    """
    ended = run_program(tmp_path, FORK + text)
    assert (ended.code, ended.errors) == (0, "")
    assert ended.out.splitlines() == ["[[{'n': 16}], [{'n': 16}]]", "[0, 0]", "[1, 2]", "completed"]
