"""How long a routine on Ray stands still when its node is lost, with Ray's own health checks and with tuned ones.

The command `python -m benchmarks.node_loss [--times 3]`. A message goes to the worker every 20 ms; a node is lost in
one of two ways; measured is the time from there to the first message that a worker on another node has handled:

    killed   the node's processes are killed, and its connections end with them, as on a machine that is shut down
    frozen   they are stopped: nothing ends and nothing is answered, as of a machine without power or network

Owns the losses and the table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence

from benchmarks.machines import HEALTH, REMOVABLE, SETTINGS, Machines
from routilux import ErrorHandler, Flow, Job, Ray, Routine

EVERY_SECONDS = 0.02
PATIENCE_SECONDS = 300.0
WAYS = ("killed", "frozen")


class Where(Routine):
    """Tells of each message on which node it was handled."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("handled", ["node"])

    def handle(self) -> None:
        """Handle one."""
        import ray  # noqa: PLC0415  it is there where this runs

        self.emit("handled", node=ray.get_runtime_context().get_node_id())


class Watch(Routine):
    """Notes where the last message was handled."""

    def __init__(self) -> None:
        super().__init__()
        self.node = ""
        self.changed = threading.Condition()
        self.define_slot("input", handler=self.note)

    def note(self, node: str) -> None:
        """Note one."""
        with self.changed:
            self.node = node
            self.changed.notify_all()

    def wait_until_not(self, node: str) -> None:
        """Wait for one that was handled elsewhere."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.node != node, PATIENCE_SECONDS):
                raise TimeoutError(f"no message was handled elsewhere within {PATIENCE_SECONDS:g} s")


def make_flow(watch: Watch) -> Flow:
    """Wire them: the worker is on a node that may be lost."""
    flow = Flow("node-loss")
    flow.add_routine(
        Where(),
        "where",
        placement="ray",
        ray=Ray(num_cpus=0, resources={REMOVABLE: 0.1}),
        error_handler=ErrorHandler("retry", max_retries=100, retry_delay=0.01, retry_backoff=1.0),
        max_restarts=1_000,
    )
    flow.add_routine(watch, "watch")
    flow.connect("where", "handled", "watch", "input")
    return flow


def send_on(job: Job, is_over: threading.Event) -> None:
    """Send messages at an even pace."""
    while not is_over.wait(EVERY_SECONDS):
        job.send("where", "trigger")


def measure(health: str, way: str, times: int) -> list[float]:
    """Lose so many nodes one after the other; gives the seconds of each."""
    machines, watch, is_over, taken = Machines(health), Watch(), threading.Event(), []
    os.environ |= {**SETTINGS, "RAY_ADDRESS": machines.address}
    try:
        with make_flow(watch).start(keep_open=True) as job:
            sender = threading.Thread(target=send_on, args=(job, is_over))
            sender.start()
            watch.wait_until_not("")
            for _ in range(times):
                node, begun = watch.node, time.monotonic()
                machines.remove_node(node) if way == "killed" else machines.freeze_node(node)
                watch.wait_until_not(node)
                taken.append(time.monotonic() - begun)
                machines.nodes.remove(node)
                if way == "frozen":
                    machines.remove_node(node)
                machines.nodes.append(machines.add_node())
            is_over.set()
            sender.join()
            job.close_entry()
    finally:
        is_over.set()
        machines.close()
    return taken


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=3, help="nodes that are lost in each way; default: 3")
    parser.add_argument("--health", choices=HEALTH, action="append", help="which health checks; default: both")
    options = parser.parse_args(argv)
    print(f"{'health checks':<14} {'node':<8} {'median':>8}   each, in seconds")
    for health in options.health or HEALTH:
        for way in WAYS:
            taken = measure(health, way, options.times)
            each = " ".join(f"{seconds:.1f}" for seconds in taken)
            print(f"{health:<14} {way:<8} {statistics.median(taken):>6.1f} s   {each}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
