"""A cluster of Ray with several nodes on this machine, in a program of its own: they come and go as is said to it.

Owns that program, its nodes, and what is said to it. It is nobody's child: what it starts while a test runs is not
taken for what the test has left. It ends, with all its nodes, when whoever began it closes the pipe, or has died.
Several nodes on one machine are Ray's own way to test: `ray.cluster_utils.Cluster`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
HEALTH: dict[str, dict[str, str]] = {
    "default": {},
    "tuned": {
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "300",
        "RAY_health_check_timeout_ms": "300",
        "RAY_health_check_failure_threshold": "2",
    },
}
"""How the head watches the nodes, by variables of its environment: as Ray does by itself, or so that a lost one is
noticed within a second or two, and one that is slow for that long is lost too."""
CPUS = 4
"""Of each node, by its own word: Ray counts them and looks at none."""
REMOVABLE = "removable"
"""A resource of those beside the head, 1 of each."""
_STORE_BYTES = 80 * 1024 * 1024
"""For objects, of each node; Ray has no less."""
SETTINGS = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
"""What Ray reads of the environment, here and wherever it is joined: by itself it writes a token into the home folder
when it begins a cluster, and the program can join none without one from then on."""


class Machines:
    """The program, and its cluster.

    Args:
        health: how the head watches the nodes, by its name in `HEALTH`.
        nodes: how many there are beside the head.
    """

    def __init__(self, health: str = "tuned", nodes: int = 2) -> None:
        # By its environment a program is known for ours.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ROUTILUX_", "RAY_"))}
        # The starter ends at once, and what it has started is nobody's child.
        self._starter = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.machines"],
            cwd=ROOT,
            env={**environment, **SETTINGS, **HEALTH[health]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._starter.stdin is None or self._starter.stdout is None:
            raise RuntimeError("it was started without pipes")
        self._questions, self._answers = self._starter.stdin, self._starter.stdout
        # Guards the pipes: a question, then its answer.
        self._lock = threading.Lock()
        self._starter.wait()
        self.address: str = self._hear()
        self.nodes: list[str] = [self.add_node() for _ in range(nodes)]
        """The ids of those beside the head."""

    def add_node(self) -> str:
        """Start another node; gives its id once it is there."""
        return str(self._ask("add"))

    def remove_node(self, node: str) -> None:
        """End a node without grace: its raylet and all its workers are killed."""
        self._ask("remove", node)

    def freeze_node(self, node: str) -> None:
        """Stop a node where it is, with all its workers: nothing is closed, and nothing is answered."""
        self._ask("freeze", node)

    def replace_node(self, index: int) -> None:
        """End a node, and start another one in its place."""
        self.remove_node(self.nodes[index])
        self.nodes[index] = self.add_node()

    def list_actors(self) -> list[str]:
        """Give the names of all actors that live, of any namespace."""
        return list(self._ask("actors"))

    def kill_actor(self, name: str, namespace: str) -> bool:
        """Have Ray kill an actor; whether there was one."""
        return bool(self._ask("kill", name, namespace))

    def close(self) -> None:
        """End the cluster, and wait for that."""
        with self._lock:
            self._questions.close()
            self._answers.read()
            self._answers.close()

    def _ask(self, *question: str) -> Any:
        with self._lock:
            self._questions.write(json.dumps(question) + "\n")
            self._questions.flush()
            return self._hear()

    def _hear(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the program of the cluster has ended")
        return json.loads(line)


def main() -> None:
    """Have a cluster, and do what is said to it, until nothing more can be."""
    import ray  # noqa: PLC0415  only this program takes it
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    common: dict[str, Any] = {"num_cpus": CPUS, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=common)
    ray.init(address=cluster.address, log_to_driver=False)
    nodes: dict[str, Any] = {}

    def add() -> str:
        node = cluster.add_node(**common, resources={REMOVABLE: 1})
        nodes[node.node_id] = node
        return str(node.node_id)

    def remove(node: str) -> None:
        cluster.remove_node(nodes.pop(node), allow_graceful=False)

    def kill(name: str, namespace: str) -> bool:
        try:
            ray.kill(ray.get_actor(name, namespace), no_restart=True)
        except ValueError:  # there is none
            return False
        return True

    def actors() -> list[str]:
        return [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]

    def freeze(node: str) -> None:
        parts = [psutil.Process(part.process.pid) for each in nodes[node].all_processes.values() for part in each]
        for process in [below for part in parts for below in (part, *part.children(recursive=True))]:
            process.send_signal(signal.SIGSTOP)

    deeds: dict[str, Callable[..., Any]] = {
        "freeze": freeze,
        "add": add,
        "remove": remove,
        "kill": kill,
        "actors": actors,
    }

    def answer(said: Any) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    try:
        answer(cluster.address)
        for line in sys.stdin:
            deed, *arguments = json.loads(line)
            answer(deeds[deed](*arguments))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    if os.fork() == 0:  # noqa: TID251  a program of one thread, which leaves its child to nobody
        os.setsid()
        main()
