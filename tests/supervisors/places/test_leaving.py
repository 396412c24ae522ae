"""A worker that ends by itself leaves nothing out that somebody could miss."""

from __future__ import annotations

import atexit
import threading
from pathlib import Path

import pytest

from supervisors.places.base import Port
from supervisors.places.process.launch import Launch
from tests.supervisors.places.bench import LAUNCHES, PATIENCE, Bench, driven

pytestmark = pytest.mark.processes

kept: list[object] = []
"""A global of a module: what is in it is never finalized."""


class Cyclic:
    """Is not unreachable before a collection, and writes then."""

    def __init__(self, path: Path) -> None:
        self._own = self
        self._path = path

    def __del__(self) -> None:
        self._path.write_text("finalized")


class Leaving(Bench):
    """Leaves things behind."""

    def open(self, _port: Port, path: str) -> None:
        self.opened = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  that nobody closes it is what is tested
        self.opened.write("its own")

    def open_for_all(self, _port: Port, path: str) -> None:
        text = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  as above
        kept.append(text)
        text.write("all's")

    def exit(self, _port: Port, path: str) -> None:
        atexit.register(Path(path).write_text, "exited")

    def keep(self, _port: Port, path: str) -> None:
        self.kept = Cyclic(Path(path)), self.keep

    def start(self, _port: Port, path: str) -> None:
        ending = threading.main_thread()

        def wait() -> None:
            ending.join(PATIENCE)
            Path(path).write_text("waited for")

        threading.Thread(target=wait).start()

    def print_part(self, _port: Port, _path: str) -> None:
        print("no newline", end="")  # noqa: T201


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("open", "its own"),
        ("open_for_all", "all's"),
        ("exit", "exited"),
        ("keep", "finalized"),
        ("start", "waited for"),
    ],
)
def test_it_flushes_finalizes_and_waits(tmp_path: Path, launch: Launch, verb: str, text: str) -> None:
    path = tmp_path / "left"
    with driven(service=Leaving(), launch=launch) as driver:
        seq = driver.ask(verb, str(path))
        driver.run(lambda: seq in driver.done)
        driver.close()
        assert driver.lost == []
    assert path.read_text() == text


def test_what_it_has_printed_without_an_end_of_line_is_told() -> None:
    with driven(service=Leaving()) as driver:
        seq = driver.ask("print_part", "")
        driver.run(lambda: seq in driver.done)
        driver.close()
    assert [line for *_, line in driver.lines] == ["no newline"]
