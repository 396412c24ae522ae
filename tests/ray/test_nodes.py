"""A node that Ray loses is one event, whether Ray knows it at once or after a while; a crash is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_raylet_start_wait_time_s": "120"}
TOOK = "and with it the workers of parse[0], parse[1], tally"


def test_each_lost_node_is_one_record_and_remote_workers_are_shown_as_local_ones() -> None:
    told_by = subprocess.run(
        [sys.executable, "-m", "tests.ray.losing_nodes"],
        env={**os.environ, **SETTINGS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert told_by.returncode == 0, told_by.stderr[-10_000:]
    told = json.loads(told_by.stdout.splitlines()[-1])
    node = told["ip"]
    silent = f"node {node} was lost (health check failed due to missing too many heartbeats), {TOOK}"
    assert told["status"] == "completed"
    assert told["after a crash"] == []
    assert told["after a silence"] == [silent]
    assert told["in the end"] == [silent, f"node {node} was lost (received SIGTERM), {TOOK}"]
    seen = told["seen"]
    assert seen["node"] == node
    assert seen["cpu_percent"] >= 0
    assert seen["rss_bytes"] > 2**20
    assert seen["cpu_seconds"] > 0.1
    assert seen["where"] == f"pid {seen['pid']} on {node}"
    assert "process/inbound.py" in seen["stack"]
    assert "no Python frame" not in seen["stack"]
    lines = told_by.stderr.splitlines()
    assert sum(f"{node} was lost: its node was lost: " in line for line in lines) >= 3
    assert sum(silent in line for line in lines) == 1
