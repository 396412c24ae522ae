from __future__ import annotations

import os
import random
import runpy
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from examples import pictures
from routilux import JobState
from routilux.observe import observe

SIDE = 128
"""Pixels of a picture here: its bytes, and its labels, go through shared memory, which begins at 64 KiB."""
NAMES = ("chelsea.png", "coffee.png", "horse.png", "multipage.tif")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures that are, and one that is cut off in the middle."""
    folder = tmp_path / "some"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(pictures.sample_folder() / name, folder)
    whole = (pictures.sample_folder() / "coins.png").read_bytes()
    (folder / "cut_off.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no picture by its name")
    return folder


def plain_loop(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The same without routilux: what is found of each picture, and the names of those that fail."""
    found, failed = {}, []
    for path in pictures.picture_files(folder):
        try:
            image = pictures.decode(path, SIDE)
        except OSError:
            failed.append(path.name)
            continue
        labels = pictures.find_segments(image)
        found[path.name] = {"features": pictures.measure(image, labels), "tile": pictures.paint(image, labels)}
    return found, failed


def assert_is_what_a_plain_loop_finds(state: JobState, folder: Path) -> None:
    assert state.status == "completed", state.error
    found, failed = plain_loop(folder)
    kept = state.routine_states["gallery"]["state"]
    assert sorted(kept) == sorted(found)
    for name, expected in found.items():
        assert np.array_equal(kept[name]["features"], expected["features"])
        assert np.array_equal(kept[name]["tile"], expected["tile"])
    assert [Path(letter.data["path"]).name for letter in state.dead_letters] == failed


@pytest.mark.processes
def test_one_picture_fails_and_the_others_are_what_a_plain_loop_finds_though_workers_are_killed(
    folder: Path, tmp_path: Path
) -> None:
    draw = random.Random(1)
    into = tmp_path / "page.png"
    killed = 0
    with pictures.flow(str(into), workers=2, side=SIDE).start("files", {"folder": str(folder)}) as job:
        for _item in job.stream("segment", "segmented"):
            pids = [pid for routine in ("segment", "describe") for pid in observe(job).routine(routine).pids]
            if killed < 3 and pids:  # as often as a picture may be tried again: whichever they are on
                os.kill(draw.choice(pids), signal.SIGKILL)
                killed += 1
    state = job.wait()
    assert_is_what_a_plain_loop_finds(state, folder)
    assert sum(routine["restarts"] for routine in state.routine_states.values()) > 0
    [letter] = state.dead_letters
    assert letter.routine_id == "load"
    assert letter.attempts == 1
    assert list(pictures.report(state))[-1].startswith("given up by load: cut_off.png: raised ")

    with Image.open(into) as page:
        assert page.format == "PNG"
        shades = np.asarray(page.convert("L"))
    assert (shades < 128).mean() > 0.1  # there is something on it


def test_a_sample_picture_is_one_that_pillow_does_not_know() -> None:
    with pytest.raises(UnidentifiedImageError):
        pictures.decode(pictures.sample_folder() / "multipage_rgb.tif", SIDE)


def test_each_segment_has_its_features_and_its_mean_colour() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:] = (200, 100, 50)
    labels = np.ones((20, 30), np.int32)
    labels[:, 15:] = 2
    image[0, 29] = 0
    features = pictures.measure(image, labels)
    assert features[:, 0].tolist() == [300, 300]
    assert features[0, 2:].tolist() == [0] * 6
    assert np.allclose(features[1, 2:5], np.array([200, 100, 50]) * 299 / 300)
    tile = pictures.paint(image, labels)
    assert np.array_equal(tile[:, :15], image[:, :15])
    assert np.abs(tile[10, 20].astype(int) - (200, 100, 50)).max() <= 1
    assert np.array_equal(tile[0, 29], tile[10, 20])
    assert (tile[:, 15] == 255).all()


def test_small_pictures_have_fewer_segments() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    assert pictures.find_segments(noise).max() <= 4
    assert pictures.find_segments(noise[:2, :2]).max() == 1


@pytest.mark.processes
def test_a_folder_without_pictures_is_done_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "page.png"
    assert pictures.main([str(tmp_path), "--into", str(into), "--plain", "--workers", "1"]) == 0
    assert "drawn" not in capsys.readouterr().err
    assert not into.exists()


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(pictures.__file__)
    assert str(caught.value).startswith("import of skimage halted")
    assert str(caught.value).endswith("; what the examples need is installed by: pip install 'routilux[examples]'")


@pytest.mark.parametrize(
    "words",
    [
        ["/no/such/folder"],
        ["--limit", "0"],
        ["--side", "x"],
        ["--workers", "0"],
        ["--into", "/no/such/folder/x.png"],
        ["--into", "x.foo"],
    ],
)
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        pictures.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
