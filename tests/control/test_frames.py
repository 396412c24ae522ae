from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.control import frames
from routilux.control.errors import ProtocolError
from routilux.figures import RoutineFigures
from routilux.jobs.recorder import CheckpointInfo
from routilux.observe import JobView, RoutineView, WorkerView

INFO = CheckpointInfo(1, 2, "pause", 3.0, 4, 5, 0.1, 0.2, 0.3)
COMMANDS: list[frames.Command] = [
    frames.Pause("a", "lunch", 1.5, "requeue"),
    frames.Pause("a"),
    frames.Resume("a"),
    frames.Cancel("a", "no need", 0.0),
    frames.Checkpoint("a"),
    frames.Leave("a"),
    frames.Status("a"),
    frames.Who(),
    frames.Look(job_id="a", seconds=0.5),
    frames.Stacks(job_id="a", routine="r"),
    frames.Letters(job_id="a"),
    frames.Redeliver(job_id="a", ids=["12", "34"]),
    frames.Discard(job_id="a", routine="r"),
    frames.Tap(job_id="a", routine="r"),
    frames.Logs(job_id="a", last=3, follow=True),
]
WORKER = WorkerView(0, 4711, 12.5, 1024)
VIEW = JobView(
    "a",
    "f",
    "running",
    1.5,
    (RoutineView("r", "process", "running", 10, RoutineFigures(), 2.0, None, (WORKER,)),),
    WORKER,
)
ANSWERS: list[frames.Answer] = [
    frames.Kept(checkpoint=INFO),
    frames.Kept(checkpoint=None),
    frames.Resumed(was_paused=True),
    frames.Ended(status="paused", error=None),
    frames.Now("running", None, 1.0, [frames.RoutineNow("r", "running", None, RoutineFigures(handled=3))], INFO),
    frames.Refused("PauseTimeoutError", "it is busy"),
    frames.Identity(job_id="a", flow_id="f", status="running", created_at=1.0, pid=1, store=""),
    frames.Seen(view=VIEW),
    frames.StacksTold(stacks=[frames.Stack("r", 0, "pid 1", "12", 0.5, "here")]),
    frames.LettersTold(letters=[frames.Letter("r", "12", 1, 2.0, "raised ValueError")], count=3),
    frames.Settled(count=3),
    frames.Passed(passings=[frames.Passing(True, "a.b -> c.d", "12", 1.0, "n=1")], missed=2),
    frames.Logged(lines=[frames.LogLine(1.0, "INFO", "r", None, "12", "mine", "said")], missed=0),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_come_back(command: frames.Command) -> None:
    data = frames.to_frame(command)
    length = frames.read_length(data[: frames.HEADER_BYTES], frames.MAX_COMMAND_BYTES)
    body = data[frames.HEADER_BYTES :]
    assert (length, frames.read_command(body)) == (len(body), command)


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_come_back(answer: frames.Answer) -> None:
    data = frames.to_frame(answer)
    assert frames.read_answer(data[frames.HEADER_BYTES :]) == answer


def test_a_header_says_what_follows_or_is_refused() -> None:
    header = frames.to_frame(frames.Resume("a"))[: frames.HEADER_BYTES]
    with pytest.raises(ProtocolError, match="of 3 at most"):
        frames.read_length(header, 3)
    with pytest.raises(ProtocolError, match="does not begin"):
        frames.read_length(b"GE" + header[2:], 100)
    with pytest.raises(ProtocolError, match="it is of version 9"):
        frames.read_length(header[:2] + b"\x09" + header[3:], 100)


@pytest.mark.parametrize(
    "given",
    [
        {"type": "pause"},
        {"type": "pause", "job_id": "a", "more": 1},
        {"type": "pause", "job_id": 1},
        {"type": "pause", "job_id": "a", "timeout": -1.0},
        {"type": "pause", "job_id": "a", "timeout": float("nan")},
        {"type": "cancel", "job_id": "a", "shutdown": float("inf")},
        {"type": "eval", "job_id": "a"},
        {"type": "who", "job_id": "a"},
        {"type": "look", "job_id": "a", "seconds": 0.0},
        {"type": "tap", "job_id": "a"},
        {"type": "logs", "job_id": "a", "last": -1},
        {"type": "redeliver", "job_id": "a", "ids": ["1"] * (frames.MOST_IDS + 1)},
        ["pause"],
        None,
    ],
)
def test_what_is_no_command_is_refused(given: object) -> None:
    with pytest.raises(ProtocolError, match="it is no command"):
        frames.read_command(msgspec.msgpack.encode(given))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    for read in (frames.read_command, frames.read_answer):
        try:
            read(data)
        except ProtocolError:
            continue


def test_text_is_made_fit() -> None:
    assert frames.fit("\ud800 x") == "? x"
    assert len(frames.fit("x" * 1_000_000)) == frames.REASON_CHARACTERS
    frames.to_frame(frames.Leave("a", frames.fit("\udcff")))
