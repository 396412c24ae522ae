"""What the tests of jobs with remote workers share: jobs that are fed in steps, and what they wait for."""

from __future__ import annotations

import random

from routilux import Flow, JobState
from tests.runtime.waiting import wait_until
from tests.supervisors.places.fake_cluster import FakeCluster


def run_in_steps(flow: Flow, cluster: FakeCluster, steps: int, count: int, drawn: random.Random) -> JobState:
    """Run a flow of `shapes` to its end, killing a worker at each step but the first, whatever it is on just then."""
    remote = sum(own.workers for own in flow.options.values() if own.placement == "ray")
    job = flow.start(keep_open=True)
    for step in range(steps):
        if step:
            drawn.choice([agent for agent in cluster.agents if agent.process.is_alive()]).process.kill()
        else:
            wait_until(lambda: len(cluster.agents) == remote)
        job.send("source", "trigger", count=count * (step + 1) // steps)
        wait_until(lambda upto=count * step // steps: job.ledger.accounts[-1].handled >= upto)
    job.close_entry()
    return job.wait(60)
