"""`routilux replay`: one recorded message once more, here, in this process, with nothing kept of it.

Owns what is told of it, and the debugger. Imports the code of users: it runs their handler.
"""

from __future__ import annotations

import argparse
import bdb
import contextlib
import inspect
import os
import pdb  # noqa: T100  who replays a message may want to look around
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

import msgspec

from routilux.causes import tell_cause
from routilux.cli.errors import INTERRUPTED, UsageError
from routilux.cli.lookup import find_job, require_store
from routilux.cli.messages import find_message
from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.run import read_renames, safe_repr
from routilux.cli.show import VALUE_SHOWN
from routilux.cli.stored import add_changes, add_key, add_store, read_key
from routilux.cli.target import describe_error, load_flow
from routilux.frames import for_people, leave_out_own, wants_all
from routilux.keeping.finding import latest
from routilux.keeping.messages import MERGING, KeptMessage
from routilux.keeping.origin import find_target
from routilux.partitioning import decode_key
from routilux.records.schema import Image
from routilux.runtime.replaying import Recorded, Replayed, Step, find_recorded, replay
from routilux.runtime.resuming import Wanted, adopt_for, check_needs
from routilux.serial.carried import Carried
from routilux.serial.registry import default
from routilux.stores.base import Store
from routilux.turn.state import OBJECT_KEY, Held, decode_for_reader, is_reserved
from supervisors.reasons import ErrorRecord
from supervisors.text import cut, printable

WHOLE = "(the state)"
"""What a state is called that is one object."""


def add_replay(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "replay",
        description=run_replay.__doc__,
        examples=[
            "routilux replay nightly 1f3c --store jobs",
            "routilux replay nightly 1f3c --store jobs --pdb",
        ],
    )
    parser.add_argument("job", metavar="JOB", help="the job's id, or its beginning")
    parser.add_argument(
        "message", metavar="MESSAGE", help="the message's id, or its beginning: see show JOB --messages"
    )
    add_store(parser)
    add_changes(parser)
    parser.add_argument("--worker", type=int, default=0, metavar="N", help="with the state of that worker; default: 0")
    debugging = parser.add_mutually_exclusive_group()
    debugging.add_argument("--pdb", action="store_true", help="stop in the debugger where the handler raises")
    debugging.add_argument(
        "--break", action="store_true", dest="breaks", help="stop in the debugger at the handler's first line"
    )
    parser.add_argument(
        "--allow-pickle", action="store_true", help="read values that are pickles, which runs code of who wrote them"
    )
    add_key(parser)
    parser.add_argument("--json", action="store_true", help="print what it did as a JSON object on stdout")
    parser.set_defaults(command=run_replay)


def run_replay(options: argparse.Namespace) -> int:
    """Run one recorded message once more, here, and tell what its handler did; status 1 if it raised.

    The message is one that waits, was being handled, is to be tried again, or was given up, in the job's newest
    checkpoint. The flow's code is imported, and the handler run in this process, with the routine's state as it was
    kept. Nothing of that is kept: the store is not changed, and what it emits goes nowhere. What the handler does to
    the outside world, it does.
    """
    store = require_store(find_job(options))
    image, codec = (
        latest(store, options.job, key=read_key(options)).image,
        Carried(default, allow_pickle=options.allow_pickle),
    )
    kept = find_message(image, options.message)
    if kept.place == MERGING:
        raise UsageError(
            f"message {kept.id} waits for others, and its handler is called with all of them: it cannot be alone"
        )
    if not image.topology.edges[kept.message.edge].target:
        raise UsageError(
            f"message {kept.id} is a result of routine {kept.routine_id!r} that could not be read: no handler is "
            "called with it; retry puts it back where results are read"
        )
    check_needs(image.header, allow_pickle=options.allow_pickle)
    recorded = _find(options, store, image, kept, codec)
    if not 0 <= options.worker < len(recorded.committed):
        count = len(recorded.committed)
        told = f"{count} states, 0 to {count - 1}" if count > 1 else "one state, 0"
        raise UsageError(f"--worker: routine {kept.routine_id!r} has {told}; got {options.worker}")
    before = _tell_states(recorded, recorded.committed[options.worker])
    if not options.json:
        write_result("".join(f"{printable(line)}\n" for line in _tell_message(kept, image, recorded)))
    # What the handler prints is no result of the command; the debugger has the terminal to itself.
    is_debugged = options.pdb or options.breaks
    with contextlib.nullcontext() if is_debugged else contextlib.redirect_stdout(sys.stderr):
        drive = _Stopping(recorded).drive if options.breaks else _drive
        done = replay(recorded, options.worker, drive, _look if options.pdb else None)
    if isinstance(done.error, bdb.BdbQuit):
        print("the debugger was left; nothing is kept", file=sys.stderr)
        return INTERRUPTED
    changes = _tell_changes(before, _tell_states(recorded, done.committed))
    if options.json:
        write_result(msgspec.json.encode(_to_dict(kept, done, changes)).decode() + "\n")
    else:
        write_result("".join(f"{printable(line)}\n" for line in _tell(done, changes)))
    return int(done.error is not None)


def _find(options: argparse.Namespace, store: Store, image: Image, kept: KeptMessage, codec: Carried) -> Recorded:
    target = options.flow or find_target(store, options.job)
    if target is None:
        raise UsageError(f"say with --flow which flow job {options.job!r} is of: nothing on this machine says so")
    if not options.flow:
        print(printable(f"with {target}, by which the job was run here last"), file=sys.stderr)
    flow = load_flow(target)
    wanted = Wanted(read_renames(options.rename), options.drop, {})
    recorded = find_recorded(flow, adopt_for(flow, image, wanted), store, kept.id, codec, read_key(options))
    if recorded is None:
        raise UsageError(f"message {kept.id} is of routine {kept.routine_id!r}, which was dropped")
    return recorded


def _look(error: BaseException) -> None:
    print(
        printable(f"it raised {describe_error(error)}; what follows is the debugger, which q leaves"), file=sys.stderr
    )
    pdb.post_mortem(error.__traceback__)


def _drive(step: Step) -> None:
    while not step():
        pass


class _Stopping:
    """Runs a turn until its handler begins, and hands over to the debugger there."""

    def __init__(self, recorded: Recorded) -> None:
        self._code = _code_of(getattr(recorded.routine.routine, "function", None) or recorded.handler)
        self._debugger = pdb.Pdb()

    def drive(self, step: Step) -> None:
        """Run it."""
        if self._code is None:
            raise UsageError("--break: the handler is no Python function, and has no first line; use --pdb")
        sys.settrace(self._watch)
        try:
            _drive(step)
        finally:
            sys.settrace(None)

    def _watch(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code is not self._code:
            return None
        self._debugger.set_trace(frame)
        return frame.f_trace


def _code_of(handler: Any) -> CodeType | None:
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    handler = inspect.unwrap(handler)
    code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _tell_message(kept: KeptMessage, image: Image, recorded: Recorded) -> Iterator[str]:
    by = image.topology.edges[kept.message.edge].label
    yield f"message {kept.id} of routine {kept.routine_id!r}, by {by}"
    if kept.letter is not None:
        yield f"  given up, tried {kept.letter.attempts} x: {tell_cause(kept.letter.reason)}"
    else:
        tried = f", tried {kept.message.failures} x" if kept.message.failures else ""
        yield f"  {kept.place}{tried}, in checkpoint {image.header.generation}-{image.header.number}"
    for data in recorded.data():
        yield f"  data: {_tell_live(data)}"
    if recorded.message.released:
        yield f"  its first {recorded.message.released} emissions had gone out before, and are not made again"


def _tell(done: Replayed, changes: Mapping[str, tuple[str | None, str | None]]) -> Iterator[str]:
    if done.failure is not None:
        yield f"it raised after {done.seconds:.3g} s; nothing of it is kept"
        yield from for_people(done.failure.error.traceback.rstrip(), os.environ).splitlines()
        yield from done.failure.error.notes
    else:
        yield f"it was handled in {done.seconds:.3g} s; nothing of it is kept"
    # Of a turn that raised it is what it had handed over ahead: all else is undone.
    is_odd = done.failure is not None
    if done.emissions or not is_odd:
        yield f"emitted{' ahead of that' if is_odd else ''}:{'' if done.emissions else ' nothing'}"
    for event, data in done.emissions:
        yield f"  {event}: {_tell_live(data)}"
    if changes or not is_odd:
        yield f"state{' committed ahead of that' if is_odd else ''}:{'' if changes else ' unchanged'}"
    for key, (old, new) in changes.items():
        yield f"  {key}: {'(not there)' if old is None else old} -> {'(gone)' if new is None else new}"


def _stack_of(error: ErrorRecord) -> str:
    """Give the traceback without our frames; the text alone of what was refused when the handler had returned."""
    return error.traceback if wants_all(os.environ) else leave_out_own(error.traceback) or str(error)


def _tell_states(recorded: Recorded, committed: Mapping[str, Any]) -> dict[str, str]:
    """Give the declared state as text, as it is now: one that is held by reference changes in place."""
    is_keyed = recorded.routine.options.partition_by is not None
    return {
        _name_of(key, is_keyed=is_keyed): _tell_live(_value_of(value, recorded.codec))
        for key, value in committed.items()
        if not is_reserved(key)
    }


def _name_of(key: str, *, is_keyed: bool) -> str:
    if key == OBJECT_KEY:
        return WHOLE
    return f"of key {decode_key(key)!r}" if is_keyed else key


def _value_of(value: Any, codec: Carried) -> Any:
    return value.value if isinstance(value, Held) else decode_for_reader(value, codec)


def _tell_changes(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    keys = [*before, *(key for key in after if key not in before)]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _tell_live(value: Any) -> str:
    return cut(safe_repr(value), VALUE_SHOWN)


def _to_dict(
    kept: KeptMessage, done: Replayed, changes: Mapping[str, tuple[str | None, str | None]]
) -> dict[str, object]:
    failure = None if done.failure is None else done.failure.error
    return {
        "message_id": kept.id,
        "routine_id": kept.routine_id,
        "is": kept.place,
        "raised": None if failure is None else str(failure),
        "traceback": None if failure is None else failure.traceback,
        "seconds": round(done.seconds, 6),
        "emitted": [{"event": event, "data": _tell_live(data)} for event, data in done.emissions],
        "state": {key: {"before": old, "after": new} for key, (old, new) in changes.items()},
    }
