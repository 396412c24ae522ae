"""A server of PostgreSQL for tests: in folders of its own, killed and started as a test wants.

Owns the server's life. It runs as a user who is not root, which PostgreSQL refuses, and apart from the processes of the
tests: it is no leak of theirs. It listens on a socket in its folder and, for who needs a password, on this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.leaks import MARK
from tests.postgres.programs import HOW_TO_INSTALL, find_programs

SECONDS = 60.0
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_permissions = 0777
fsync = off
shared_buffers = 32MB
max_connections = 60
dynamic_shared_memory_type = mmap
"""
_ACCESS = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


class TestServer:
    """A server that was started; `remove` it.

    Args:
        template: the folder of another one that is stopped, to begin with; None for a new one.
    """

    __test__ = False

    def __init__(self, template: Path | None = None) -> None:
        self.programs = find_programs()
        if self.programs is None:
            pytest.fail(HOW_TO_INSTALL, pytrace=False)
        self.folder = Path(tempfile.mkdtemp(prefix="routilux-pg-"))  # its name is short: a socket's path has 108 bytes
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.port = _free_port()
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        if template is None:
            self._run("initdb", "--auth=trust", "--username=tests", "--encoding=UTF8", "--no-sync", "-D", self.data)
            with (self.data / "postgresql.conf").open("a") as file:
                file.write(f"{_SETTINGS}unix_socket_directories = '{self.folder}'\n")
            (self.data / "pg_hba.conf").write_text(_ACCESS)
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Give the URL of a database, by the socket."""
        return f"postgresql://tests@/{database}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                options = f"-p {self.port}"
                log = self.folder / "log"
                self._run("pg_ctl", "start", "-w", "-t", "30", "-D", self.data, "-l", log, "-o", options)
            except subprocess.CalledProcessError:  # what a killed one left has not ended yet
                if time.monotonic() > end:
                    raise
                threading.Event().wait(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop it as who restarts it does: connections are ended, and nothing is lost."""
        self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", self.data)

    def kill(self) -> None:
        """Kill it, with all that serve connections: what it had not yet written is lost."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
        for number in (pid, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def remove(self) -> None:
        """Stop it, and take its folder away."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it is stopped
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.data)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, statement: Any, *values: object, database: str = "postgres") -> list[Any]:
        """Carry a statement out, and give its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: object) -> None:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        who: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(
            [self.programs / program, *map(str, arguments)],
            env=environment,
            cwd=self.folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **who,
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
