"""Jobs watched in a notebook: by one that is made up, and in a real one, which runs the guide."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from routilux.notebook import watch
from tests.following import blocks_of
from tests.test_docs import ROOT
from tests.tracking.samples import pairs

GUIDE = ROOT / "docs" / "guides" / "notebooks.md"
RUN = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""
SECONDS = 100.0


class Notebook:
    """Stands for IPython in a kernel: keeps what is shown, and calls somebody with the number of pictures so far."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, on_shown: Callable[[int], object] = int) -> None:
        self.shown: list[str] = []
        self._on_shown = on_shown
        ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
        shell = types.SimpleNamespace(kernel=object())
        ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]  # as that of IPython
        display.display = self.display  # type: ignore[attr-defined]  # the same
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", display)
        self.shell = shell

    def display(self, shown: Any, *, display_id: bool) -> Notebook:
        assert display_id
        self.update(shown)
        return self

    def update(self, shown: Any) -> None:
        self.shown.append(shown._repr_html_())
        self._on_shown(len(self.shown))


def test_the_picture_is_replaced_until_the_job_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, pair = pairs()
    flow.output("pair", "item", capacity=1)

    def let_go(count: int) -> None:
        if count == 3:
            pair.gate.set()

    notebook = Notebook(monkeypatch, let_go)
    state = watch(flow.start("pair", {"n": 7}), interval=0.01)
    assert state.status == "completed"
    assert len(state.results()) == 2, "a bounded output is read meanwhile"
    assert ": running" in notebook.shown[0]
    assert ": completed" in notebook.shown[-1]
    assert len(notebook.shown) >= 4


def test_the_stop_button_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_in(count: int) -> None:
        if count == 2:
            raise KeyboardInterrupt

    notebook = Notebook(monkeypatch, break_in)
    flow, _pair = pairs()
    job = flow.start("pair", {"n": 1}, keep_open=True)
    with pytest.raises(KeyboardInterrupt):
        watch(job, interval=0.01)
    assert (job.status, job.state.error) == ("cancelled", "interrupted")
    assert ": cancelled" in notebook.shown[-1]


def test_without_a_kernel_a_job_is_watched_as_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    del notebook.shell.kernel  # IPython on a terminal
    flow, _pair = pairs()
    with redirect_stderr(io.StringIO()):
        assert watch(flow.start("pair", {"n": 1})).status == "completed"
    assert notebook.shown == []


@pytest.mark.processes
@pytest.mark.skipif(find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="Jupyter is not installed")
def test_the_guide_runs_in_a_real_notebook(tmp_path: Path) -> None:
    sources = ["\n".join(block.lines) for block in blocks_of(GUIDE.read_text()) if block.info == "python"]
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(sources)
    ]
    given, done = tmp_path / "guide.ipynb", tmp_path / "done.ipynb"
    given.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    folders = {name: str(tmp_path) for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(given), str(done)],
        env={**os.environ, **folders, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    outputs = [cell["outputs"] for cell in json.loads(done.read_text())["cells"]]
    pages = ["".join(part["data"].get("text/html", "")) for part in outputs[0] + outputs[1] if "data" in part]
    assert [page.startswith("<div><div") and "<svg" in page for page in pages] == [True, True], "the flow, and the job"
    assert ": completed" in pages[1], "what was shown first was replaced"
    assert "raised ValueError: 99 is too large" in pages[1]
