"""A program that loses two of its nodes on a real Ray, and prints what is told of that: run by `test_nodes`.

It is a program of its own, since Ray leaves descriptors and threads in the one that has joined it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.cluster_utils import Cluster

from routilux import ErrorHandler, Flow, Job, Ray
from routilux.control.client import ask
from routilux.control.finding import find_running
from routilux.control.frames import Stacks, StacksTold
from routilux.observe import observe
from tests.runtime.remote import Work

HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1_000,
    "health_check_timeout_ms": 1_000,
    "health_check_failure_threshold": 5,
}
"""So that a node that falls silent is in doubt for some seconds, and not for as long as with Ray's own."""
STORE_BYTES = 80 * 2**20
PATIENCE = 90.0
PLACED = {"parse": "away", "tally": "away", "count": "home"}


def wait_until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.05)


def add_node(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=1, resources={"away": 3}, object_store_memory=STORE_BYTES)


def make_flow() -> Flow:
    flow = Flow("remote")
    for routine_id, resource in PLACED.items():
        workers = 2 if routine_id == "parse" else 1
        needs = Ray(num_cpus=0, resources={resource: 1}, start_timeout=PATIENCE)
        handler = ErrorHandler("retry", max_retries=3, retry_delay=0.0)
        flow.add_routine(Work(), routine_id, placement="ray", workers=workers, ray=needs, error_handler=handler)
        flow.output(routine_id, "done")
    return flow


def list_pids(job: Job) -> list[int]:
    """List the workers that are ready."""
    listed = [worker for account in job.ledger.accounts for worker in account.list_workers()]
    return [worker.pid for worker in listed if worker.is_ready and worker.pid is not None]


def have_done(job: Job, what: str) -> None:
    for routine_id in PLACED:
        job.send(routine_id, "input", what=what)
    for routine_id in PLACED:
        assert next(job.results(routine_id)) == {"what": what}


def lost(job: Job) -> list[str]:
    return [record.detail for record in job.state.get_execution_history("", kind="node_lost")]


def replace(job: Job, end: Callable[[], object], count: int) -> None:
    """End workers, and wait until all are there again, so many of them new."""
    before = set(list_pids(job))
    end()
    wait_until(lambda: len(list_pids(job)) == 4 and len(set(list_pids(job)) - before) == count)


def look(job: Job) -> dict[str, Any]:
    """Tell what is shown of a worker that was busy."""
    wait_until(lambda: observe(job).routine("count").workers[0].rss_bytes)
    (worker,) = observe(job).routine("count").workers
    (usage,) = job.tracker.get_routine_performance("count").workers  # type: ignore[union-attr]
    (found,) = (found for found in find_running() if found.identity.job_id == job.id)
    told = ask(found.owner, Stacks(job_id=job.id, routine="count"))
    assert isinstance(told, StacksTold)
    return {
        "node": worker.node,
        "pid": worker.pid,
        "cpu_percent": worker.cpu_percent,
        "rss_bytes": worker.rss_bytes,
        "cpu_seconds": usage.cpu_seconds,
        "where": told.stacks[0].where,
        "stack": told.stacks[0].text,
    }


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    head = {"num_cpus": 1, "resources": {"home": 1}, "object_store_memory": STORE_BYTES, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    silent = add_node(cluster)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    told: dict[str, Any] = {"ip": ray.util.get_node_ip_address()}
    try:
        with make_flow().start(keep_open=True, takes_commands=True) as job:
            wait_until(lambda: len(list_pids(job)) == 4)
            have_done(job, "burn")
            told["seen"] = look(job)
            replace(job, lambda: os.kill(observe(job).routine("tally").workers[0].pid or 0, signal.SIGKILL), 1)
            told["after a crash"] = lost(job)
            leaving = add_node(cluster)
            replace(job, lambda: cluster.remove_node(silent, allow_graceful=False), 3)
            have_done(job, "again")
            wait_until(lambda: lost(job))
            told["after a silence"] = lost(job)
            add_node(cluster)
            replace(job, lambda: cluster.remove_node(leaving, allow_graceful=True), 3)
            have_done(job, "at last")
            job.close_entry()
            state = job.wait(PATIENCE)
            told["in the end"] = lost(job)
            told["status"] = str(state.status)
    finally:
        ray.shutdown()
        cluster.shutdown()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
