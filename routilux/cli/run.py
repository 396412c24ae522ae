"""`routilux run`: run a flow, watched, and tell how it ended.

What is for people goes to stderr; stdout has one JSON object, with `--json`, or nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from typing import Any, TextIO

import msgspec

from routilux.cli.live import watch
from routilux.cli.output import write_result
from routilux.cli.summary import summarize
from routilux.cli.target import BrokenFlowError, UsageError, load_flow
from routilux.errors import CallerError, EntryError, FlowCheckError, NotPortableError
from routilux.flow import Flow
from routilux.hints import describe_names
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.model.binding import OneOrWhole, WholeDict
from routilux.runtime.signals import ending_on_sigterm

EXIT_STATUS = {JobStatus.COMPLETED: 0, JobStatus.FAILED: 1, JobStatus.CANCELLED: 4}
FILE_WIDTH = 100
"""Characters a line of the summary has where there is no terminal (arbitrary)."""


def run(options: argparse.Namespace) -> int:
    """Run a flow and wait for it."""
    flow = load_flow(options.target)
    entry = choose_entry(flow, options.entry)
    params = read_params(options.param)
    check_params(flow, entry, params)
    with ending_on_sigterm():
        state = _run_watched(flow, entry, params, options)
    print(summarize(state, _width(sys.stderr)), file=sys.stderr)
    if options.json:
        write_result(to_json(state) + "\n")
    return EXIT_STATUS[state.status]


def choose_entry(flow: Flow, given: str | None) -> str:
    """Give the id of the routine that gets the first message.

    Args:
        flow: the flow.
        given: the id on the command line; None: the only routine that nothing is connected to.

    Raises:
        UsageError: there is no such routine, it cannot be the entry, or it is not clear which is meant.
    """
    if given is None:
        fed = {link.target_id for link in flow.connections}
        sources = [routine_id for routine_id in flow.routines if routine_id not in fed] or list(flow.routines)
        if len(sources) != 1:
            known = describe_names(None, sources, "it can be", "the flow has no routines")
            raise UsageError(f"say with --entry which routine gets the first message; {known}")
        given = sources[0]
    if given not in flow.routines:
        known = describe_names(given, flow.routines, "its routines are", "it has no routines")
        raise UsageError(f"--entry: the flow has no routine {given!r}; {known}")
    try:
        flow.routines[given].entry_slot()
    except EntryError as error:
        raise UsageError(f"--entry {given}: {error}") from error
    return given


def read_params(given: list[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` words; a value that is JSON is that value, any other is text.

    Raises:
        UsageError: one is not of that form.
    """
    params: dict[str, Any] = {}
    for word in given:
        name, separator, value = word.partition("=")
        if not separator or not name.isidentifier():
            raise UsageError(f"--param: expected NAME=VALUE, got {word!r}")
        try:
            params[name] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError):
            params[name] = value
    return params


def check_params(flow: Flow, entry: str, params: dict[str, Any]) -> None:
    """Refuse parameters that the entry does not take, or lacks.

    Raises:
        UsageError: it names what the entry takes.
    """
    binding = flow.routines[entry].entry_slot().binding
    if type(binding) is WholeDict:
        return
    # A single parameter would get the whole dict of others: from a command line that is a slip.
    takes_any = binding.takes_any and not isinstance(binding, OneOrWhole)
    for name in params:
        if not takes_any and name not in binding.parameters:
            known = describe_names(name, binding.parameters, "it takes", "it takes none")
            raise UsageError(f"--param: the entry of {entry!r} has no parameter {name!r}; {known}")
    missing = [name for name in binding.required if name not in params]
    if missing:
        raise UsageError(f"the entry of {entry!r} needs {', '.join(missing)}: give it with --param {missing[0]}=VALUE")


def to_json(state: JobState) -> str:
    """Give a job's final state and results as one JSON object; what is no JSON as its `repr`."""
    told = {
        "job_id": state.job_id,
        "flow_id": state.flow_id,
        "status": str(state.status),
        "error": _raw(state.error),
        "seconds": round(max(0.0, state.updated_at - state.created_at), 3),
        "routines": {
            routine_id: {
                "status": routine["status"],
                "error": _raw(routine["error"]),
                **routine["stats"],
                "state": _raw(routine["state"]),
            }
            for routine_id, routine in state.routine_states.items()
        },
        "dead_letters": [
            {
                "routine_id": letter.routine_id,
                "message_id": letter.message.id,
                "attempts": letter.attempts,
                "cause": _raw(letter.cause),
            }
            for letter in state.dead_letters
        ],
        "outputs": {
            f"{routine_id}.{event}": [_raw(item) for item in items]
            for (routine_id, event), items in state.outputs.items()
        },
    }
    return msgspec.json.encode(told).decode()


def _raw(value: Any) -> msgspec.Raw:
    """Encode one value of the user's, so that what cannot be encoded spoils nothing else."""
    try:
        return msgspec.Raw(msgspec.json.encode(value, enc_hook=repr))
    except (Exception, SystemExit):  # noqa: BLE001  keys that are no text, lone surrogates, cycles, a `repr` that raises
        return msgspec.Raw(msgspec.json.encode(_safe_repr(value)))


def _safe_repr(value: Any) -> str:
    try:
        return repr(value).encode("ascii", "backslashreplace").decode("ascii")
    except (Exception, SystemExit) as error:  # noqa: BLE001  a user's `repr`
        return f"<a {type(value).__name__} whose repr raised {type(error).__name__}>"


def _run_watched(flow: Flow, entry: str, params: dict[str, Any], options: argparse.Namespace) -> JobState:
    try:
        job = flow.start(entry, params)
    except FlowCheckError as error:
        problems = "; ".join(str(problem) for problem in error.problems)
        raise BrokenFlowError(f"flow {flow.flow_id!r} cannot run: {problems}") from error
    except NotPortableError as error:
        raise BrokenFlowError(str(error)) from error
    except CallerError as error:
        raise UsageError(str(error)) from error
    # Bounded outputs press back on the flow: somebody has to read them while it runs.
    # A daemon, so that an interrupt which comes just here ends the program, and with it the job.
    reader = threading.Thread(target=job.collect, name="routilux-results", daemon=True)
    reader.start()
    try:
        watch(job, plain=options.plain or None, timeout=options.timeout)
    except BaseException:
        job.cancel("interrupted", shutdown=0.0)  # nothing, unless its watch could not wait for the end
        raise
    finally:
        reader.join()
    return job.state


def _width(stream: TextIO) -> int:
    """Give the characters a line of the terminal has; of a file: what most screens have."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or FILE_WIDTH
    except (OSError, ValueError):
        return FILE_WIDTH
