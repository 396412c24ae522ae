"""Results and streams read by tasks: with back-pressure, to the end of the job, and cancelled like anything else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from routilux import Flow, Job, JobStatus, Routine, routine
from routilux.errors import UnknownOutputError, WaitInsideHandlerError

CAPACITY = 5


class Numbers(Routine):
    """Emits the numbers below `count`, each in a step of its own, and tells how far it has come."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n"])
        self.made = 0
        self.gate = threading.Event()
        self.gate.set()

    def produce(self, count: int) -> Any:
        for n in range(count):
            self.gate.wait()
            self.emit("number", n=n)
            self.made = n + 1
            yield


def number_flow(numbers: Numbers, capacity: int | None = CAPACITY) -> Flow:
    flow = Flow("numbers")
    flow.add_routine(numbers, "numbers")
    flow.output("numbers", "number", capacity=capacity)
    return flow


def test_results_are_read_by_a_task_while_others_go_on() -> None:
    numbers = Numbers()
    numbers.gate.clear()
    ticks = 0

    async def main() -> list[int]:
        nonlocal ticks
        job = number_flow(numbers).start("numbers", {"count": 100})

        async def tick() -> None:
            nonlocal ticks
            for _ in range(3):
                await asyncio.sleep(0)
                ticks += 1
            numbers.gate.set()

        ticking = asyncio.create_task(tick())
        came = [item["n"] async for item in job.results()]
        await ticking
        state = await job
        assert state.status == JobStatus.COMPLETED
        return came

    assert asyncio.run(main()) == list(range(100))
    assert ticks == 3


def test_a_bounded_output_presses_back_on_the_flow_until_its_task_reads_on() -> None:
    numbers = Numbers()

    async def main() -> None:
        job = number_flow(numbers).start("numbers", {"count": 100})
        results = job.results()
        for n in range(10):
            assert await anext(results) == {"n": n}
            assert numbers.made <= n + 1 + CAPACITY + 1
        assert [item["n"] async for item in results] == list(range(10, 100))
        await job

    asyncio.run(main())


def test_a_reader_that_is_cancelled_while_it_waits_takes_nothing_along() -> None:
    numbers = Numbers()
    numbers.gate.clear()

    async def main() -> None:
        job = number_flow(numbers).start("numbers", {"count": 20})
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(job.results())
        assert not job._ledger.results_bell._waiters
        numbers.gate.set()
        assert [item["n"] async for item in job.results()] == list(range(20))
        await job

    asyncio.run(main())


def test_tasks_and_threads_share_the_results() -> None:
    numbers = Numbers()
    came: list[int] = []

    def read(job: Job) -> None:
        came.extend(item["n"] for item in job.results())

    async def main() -> None:
        job = number_flow(numbers).start("numbers", {"count": 200})
        thread = threading.Thread(target=read, args=(job,))
        thread.start()

        async def collect() -> None:
            came.extend([item["n"] async for item in job.results()])

        await asyncio.gather(collect(), collect(), asyncio.to_thread(thread.join), job)

    asyncio.run(main())
    assert sorted(came) == list(range(200))


def test_reading_ends_when_the_job_is_cancelled() -> None:
    numbers = Numbers()

    async def main() -> list[int]:
        job = number_flow(numbers).start("numbers", {"count": 1_000_000})
        came = []
        async for item in job.results():
            came.append(item["n"])
            if len(came) == 10:
                job.cancel()
        assert (await job).status == JobStatus.CANCELLED
        return came

    came = asyncio.run(main())
    assert came == list(range(len(came)))


def test_a_stream_is_read_by_a_task_and_by_a_thread_after_it() -> None:
    numbers = Numbers()
    numbers.gate.clear()

    async def main(job: Job, stream: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(stream)
        numbers.gate.set()
        assert [(await anext(stream))["n"] for _ in range(5)] == list(range(5))

    job = number_flow(numbers, None).start("numbers", {"count": 20})
    stream = job.stream("numbers", "number")
    asyncio.run(main(job, stream))
    assert [item["n"] for item in stream] == list(range(5, 20))

    async def read_the_end() -> list[Any]:
        return [item async for item in stream]

    assert asyncio.run(read_the_end()) == []
    job.wait()


def test_what_cannot_be_read_or_waited_for_is_refused_as_in_a_thread() -> None:
    refused: list[BaseException] = []
    jobs: list[Job] = []
    started = threading.Event()

    @routine(events={"number": ["n"]})
    async def read_own(n: int) -> None:
        await asyncio.to_thread(started.wait)
        try:
            async for _ in jobs[0].results():
                pass
        except WaitInsideHandlerError as error:
            refused.append(error)

    flow = Flow("own")
    flow.add_routine(read_own, "own")
    flow.output("own", "number")
    jobs.append(flow.start("own", {"n": 1}))
    with pytest.raises(UnknownOutputError):
        jobs[0].results("nobody")
    started.set()
    jobs[0].wait(30.0)
    assert len(refused) == 1
