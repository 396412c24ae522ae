from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from examples import model_search
from routilux import JobState
from routilux.observe import observe

ROWS = 200
"""Digits here: a model takes some 50 ms."""


def plain_loop(rows: int) -> list[dict[str, Any]]:
    """The same without routilux, and without the model that hangs."""
    digits = model_search.read_digits(rows)
    rounds: list[dict[str, Any]] = []
    following: dict[str, Any] | None = model_search.first_round()
    while following is not None:
        scores = [
            None if model == model_search.HANGS else model_search.cross_validate(model, *digits)
            for model in following["models"]
        ]
        rounds.append({**following, "scores": scores})
        following = model_search.next_round(rounds)
    return rounds


def rounds_of(state: JobState) -> list[dict[str, Any]]:
    assert state.status == "completed", state.error
    rounds = state.routine_states["propose"]["state"]["rounds"]
    return [{**past, "models": [tuple(model) for model in past["models"]]} for past in rounds]


@pytest.mark.processes
def test_a_fit_that_hangs_is_given_up_and_the_best_model_is_that_of_a_plain_loop_though_a_worker_is_killed(
    tmp_path: Path,
) -> None:
    into = tmp_path / "search.png"
    with model_search.flow(str(into), workers=2, rows=ROWS, timeout=2.0).start("propose") as job:
        # Once only: a model gets two tries.
        next(iter(job.stream("validate", "score")))
        os.kill(observe(job).routine("validate").pids[-1], signal.SIGKILL)
    state = job.wait()
    rounds = rounds_of(state)
    expected = plain_loop(ROWS)
    assert rounds == expected
    assert model_search.best_model(rounds) == model_search.best_model(expected)
    assert len(rounds) > 2

    [letter] = state.dead_letters
    assert tuple(letter.data["model"]) == model_search.HANGS
    assert letter.attempts == 2
    assert letter.cause == "took longer than 2 s and was ended"
    assert state.routine_states["validate"]["restarts"] >= 2
    told = list(model_search.report(state))
    assert len(told) == len(rounds) + 2
    assert told[-1].startswith("given up after 2 tries: log2 C 4, log2 gamma -6, tolerance 1e-300: took longer than ")
    with Image.open(into) as plot:
        assert plot.format == "PNG"
        assert np.asarray(plot.convert("L")).std() > 10  # there is something on it


def scored(step: float, *scores: float | None, centre: tuple[float, float] = model_search.START) -> dict[str, Any]:
    """Make a round whose first models have these scores, and the others none."""
    models = model_search.grid(centre, step)
    return {"step": step, "models": models, "scores": [*scores, *[None] * (len(models) - len(scores))]}


def test_a_gain_moves_the_grid_and_none_makes_it_finer() -> None:
    first = scored(4.0, 0.5, 0.75)
    second = model_search.next_round([first])
    assert second is not None
    assert second["step"] == 4.0
    assert (-8.0, -14.0, model_search.TOLERANCE) in second["models"]
    assert not set(second["models"]) & set(first["models"])

    without_gain = {**second, "scores": [0.25] * len(second["models"])}
    third = model_search.next_round([first, without_gain])
    assert third is not None
    assert third["step"] == 2.0
    assert len(third["models"]) == 8


def test_the_search_ends_when_the_finest_grid_brings_no_gain() -> None:
    centre = (0.0, 0.0)
    best = scored(2.0, *[0.0] * 4, 0.5, centre=centre)
    assert model_search.next_round([best, scored(1.0, 0.25, centre=centre)]) is None


def test_of_equal_models_the_simpler_one_is_best_and_what_was_given_up_is_none() -> None:
    step = scored(4.0, None, 0.5, 0.5, None, 0.5)
    assert model_search.best_model([step]) == (0.5, -4.0, -10.0)


@pytest.mark.parametrize(
    "words",
    [
        ["--rows", "99"],
        ["--timeout", "0"],
        ["--timeout", "x"],
        ["--workers", "0"],
        ["--into", "/no/such/folder/x.png"],
        ["--into", "x.foo"],
    ],
)
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        model_search.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(model_search.__file__)
    assert str(caught.value).startswith("import of sklearn.svm halted")
    assert str(caught.value).endswith("; what the examples need is installed by: pip install 'routilux[examples]'")
