"""`routilux run` and `routilux resume`: run a flow, watched, and tell how it ended.

What is for people goes to stderr; stdout has one JSON object, with `--json`, or nothing.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from routilux.cli.errors import BrokenFlowError, CommandError, UsageError
from routilux.cli.insistence import insisting
from routilux.cli.kept import add_address, add_placement, add_watching
from routilux.cli.live import watch
from routilux.cli.lookup import find_job
from routilux.cli.output import tell, width_of, write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import ID_SHOWN
from routilux.cli.placing import place_routines, use_address
from routilux.cli.stored import STORE_HELP, STORE_VARIABLE, how_to_replay, how_to_resume, name_store, read_key
from routilux.cli.summary import find_stop, summarize
from routilux.cli.target import TARGET_HELP, absolute_target, load_flow
from routilux.control.client import ask
from routilux.control.frames import Answer, Resume, Resumed
from routilux.conversion import convert_text
from routilux.errors import EntryError, FlowCheckError, MissingExtraError, NotPortableError, OptionError
from routilux.figures import figures_in, numbers_in
from routilux.flow import Flow, find_entries
from routilux.hints import describe_names
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.keeping.origin import find_target
from routilux.model.binding import OneOrWhole, WholeDict
from routilux.runtime.job import Job
from routilux.runtime.keeping import Keeping, ResumeKeeping
from routilux.runtime.signals import ending_on_signals
from routilux.stores.base import Owner
from routilux.stores.errors import JobExistsError
from routilux.stores.owners import is_from_here
from routilux.stores.urls import without_secrets
from supervisors.text import printable

EXIT_STATUS = {JobStatus.COMPLETED: 0, JobStatus.FAILED: 1, JobStatus.PAUSED: 3, JobStatus.CANCELLED: 4}


def run(options: argparse.Namespace) -> int:
    """Run a flow and wait for it."""
    options.store = name_store(options)
    flow = load_flow(options.target)
    place_routines(flow, options.placement)
    use_address(options.address, flow)
    entry = choose_entry(flow, options.entry)
    params = read_params(options.param, flow, entry)
    check_params(flow, entry, params)
    keeping = read_keeping(options)
    if options.store is not None:
        keeping["target"] = absolute_target(options.target)
        options.store = without_secrets(options.store)  # what is printed from now on
    with ending_on_signals():
        try:
            job = _started(flow, lambda: flow.start(entry, params, takes_commands=True, **keeping))
        except JobExistsError as error:
            how = how_to_resume(error.job_id, options.store)
            raise UsageError(f"{error.store} has a job {error.job_id!r} already: go on with it by {how}") from error
        state = watch_job(job, options)
    return tell_end(state, options)


def resume(options: argparse.Namespace) -> int:
    """Go on with a job: one that is paused in another program there, any other one here.

    One that another machine runs, in a database that both share, is taken over if that machine is not heard of.
    """
    store, owner = (found := find_job(options)).store, found.owner
    rename, changes = read_renames(options.rename), _changes(options)
    if owner is not None and not changes and (store is None or is_from_here(owner)):
        return _let_go_on(ask(owner, Resume(options.job)), owner, options)
    if store is None:
        raise CommandError(f"job {options.job!r} is kept nowhere, and is resumed where it runs, as it is there", 1)
    target = options.flow or find_target(store, options.job)
    if target is None:
        raise UsageError(f"say with --flow which flow job {options.job!r} is of: nothing on this machine says so")
    if not options.flow:
        tell(printable(f"resuming with {target}, by which the job was run here last"))
    flow = load_flow(target)
    place_routines(flow, options.placement)
    use_address(options.address, flow)
    keeping: ResumeKeeping = {**read_options(options), "target": absolute_target(target)}
    with ending_on_signals():
        job = _started(
            flow, lambda: Flow.resume(store, options.job, flow=flow, rename=rename, drop=options.drop, **keeping)
        )
        state = watch_job(job, options)
    return tell_end(state, options)


def add_run(commands: Commands) -> None:
    """Add the command `run`."""
    parser = commands.add_parser(
        "run",
        description=run.__doc__,
        examples=[
            "routilux run examples/census.py:flow --param root=src",
            "routilux run flows.py:nightly --store jobs --job-id nightly --checkpoint-every 10",
            "routilux run flows.py:nightly --placement ray=parse,upload --address auto",
        ],
    )
    parser.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    parser.add_argument(
        "--entry", metavar="ID", help="routine of the first message; default: the one that nothing is connected to"
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of that message: JSON, else text",
    )
    parser.add_argument(
        "--store",
        metavar="PATH",
        help=f"keep the job there, to be resumed: {STORE_HELP}; default: ${STORE_VARIABLE}, if set",
    )
    parser.add_argument("--job-id", metavar="ID", help="its id there; default: one that is made up")
    add_placement(parser)
    add_address(parser)
    add_watching(parser)
    parser.set_defaults(command=run)


def tell_end(state: JobState, options: argparse.Namespace) -> int:
    """Tell how a job ended, and what to do about it; give the exit status."""
    tell(summarize(state, width_of(sys.stderr)))
    if options.store is not None and state.status in {JobStatus.PAUSED, JobStatus.FAILED}:
        for line in _tell_how_to_go_on(state, options.store):
            tell(printable(line))
    if options.json:
        write_result(to_json(state) + "\n")
    if state.status is JobStatus.PAUSED and state.error:
        return 1  # its last checkpoint could not be kept
    return EXIT_STATUS[state.status]


def _tell_how_to_go_on(state: JobState, store: str) -> Iterator[str]:
    how, stop = f"go on with it by: {how_to_resume(state.job_id, store)}", find_stop(state)
    if stop is None or not stop.message_id:
        yield how
        return
    message = stop.message_id[:ID_SHOWN]
    yield f"message {message} is kept, first in line for routine {stop.routine_id!r}: mend first what it failed by"
    yield f"see what its handler does with it by: {how_to_replay(state.job_id, message, store)}"
    yield f"then {how}"


def read_keeping(options: argparse.Namespace) -> Keeping:
    """Give how the job is to be kept; raises `UsageError` for options that go without a store."""
    given: Keeping = {**read_options(options)}  # type: ignore[typeddict-item]  # mypy wants the same keys
    if options.job_id is not None:
        given["job_id"] = options.job_id
    if options.store is not None:
        given["store"] = options.store
    elif given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given).replace("--key", "--key-file")
        raise UsageError(f"{names} means nothing for a job that is not kept: give --store too")
    return given


def read_options(options: argparse.Namespace) -> ResumeKeeping:
    """Give how a job is to be kept, but for where."""
    given: ResumeKeeping = {}
    if options.checkpoint_every is not None:
        given["checkpoint_every"] = options.checkpoint_every
    if options.keep_checkpoints is not None:
        given["keep_checkpoints"] = options.keep_checkpoints
    if options.key_file is not None:
        given["key"] = read_key(options)
    if options.allow_pickle:
        given["allow_pickle"] = True
    return given


def read_renames(given: list[str]) -> dict[str, str]:
    """Read `OLD=NEW` words; raises `UsageError`."""
    renames = {}
    for word in given:
        old, separator, new = word.partition("=")
        if not (separator and old and new):
            raise UsageError(f"--rename: expected OLD=NEW, got {word!r}")
        renames[old] = new
    return renames


def choose_entry(flow: Flow, given: str | None) -> str:
    """Give the id of the routine that gets the first message.

    Args:
        flow: the flow.
        given: the id on the command line; None: the only one that may be meant, as `Flow.start` has it.

    Raises:
        UsageError: there is no such routine, it cannot be the entry, or it is not clear which is meant.
    """
    if given is None:
        entries = find_entries(flow) or list(flow.routines)
        if len(entries) != 1:
            known = describe_names(None, entries, "it can be", "the flow has no routines")
            raise UsageError(f"say with --entry which routine gets the first message; {known}")
        given = entries[0]
    if given not in flow.routines:
        known = describe_names(given, flow.routines, "its routines are", "it has no routines")
        raise UsageError(f"--entry: the flow has no routine {given!r}; {known}")
    try:
        flow.routines[given].entry_slot()
    except EntryError as error:
        raise UsageError(f"--entry {given}: {error}") from error
    return given


def read_params(given: list[str], flow: Flow, entry: str) -> dict[str, Any]:
    """Read `NAME=VALUE` words, as the entry's handler annotates its parameters.

    Where it says nothing, a value that is JSON is that value, any other is text.

    Raises:
        UsageError: one is not of that form, or cannot be what it is annotated as.
    """
    routine = flow.routines[entry]
    hints = routine.slot_annotations(routine.entry_slot())
    params: dict[str, Any] = {}
    for word in given:
        name, separator, text = word.partition("=")
        if not separator or not name.isidentifier():
            raise UsageError(f"--param: expected NAME=VALUE, got {word!r}")
        try:
            params[name] = convert_text(text, hints.get(name, Any), f"--param {name}")
        except OptionError as error:
            raise UsageError(f"{error}, got {text!r}") from error
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
        "seconds": round(state.tracker.seconds, 3),
        "routines": {
            routine_id: {
                "status": routine["status"],
                "error": _raw(routine["error"]),
                **figures_in(routine["stats"])._asdict(),
                "stats": numbers_in(routine["stats"]),
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
        return msgspec.Raw(msgspec.json.encode(safe_repr(value)))


def safe_repr(value: Any) -> str:
    """Give the `repr` of a value of a user's, or what became of that."""
    try:
        return repr(value).encode("ascii", "backslashreplace").decode("ascii")
    except (Exception, SystemExit) as error:  # noqa: BLE001  a user's `repr`
        return f"<a {type(value).__name__} whose repr raised {type(error).__name__}>"


def watch_job(job: Job, options: argparse.Namespace) -> JobState:
    """Wait for a job, showing how it goes; one with a store that is interrupted is paused, and that is its end."""
    # Bounded outputs press back on the flow: somebody has to read them while it runs.
    # A daemon, so that an interrupt which comes just here ends the program, and with it the job.
    reader = threading.Thread(target=job.collect, name="routilux-results", daemon=True)
    with insisting(job, sys.stderr):
        reader.start()
        try:
            watch(job, plain=options.plain or None, timeout=options.timeout)
        except BaseException as error:
            if not job.is_over:  # its watch could not wait for the end
                job.end_early("interrupted", shutdown=0.0)
            if not isinstance(error, KeyboardInterrupt | SystemExit) or job.status != JobStatus.PAUSED:
                raise
        finally:
            reader.join()
    return job.state


def _started(flow: Flow, start: Callable[[], Job]) -> Job:
    try:
        return start()
    except FlowCheckError as error:
        between = " " if len(error.problems) == 1 else "\n  "
        problems = "".join(f"{between}{problem}" for problem in error.problems)
        raise BrokenFlowError(f"flow {flow.flow_id!r} cannot run:{problems}") from error
    except (MissingExtraError, NotPortableError) as error:
        raise BrokenFlowError(str(error)) from error
    except (KeyboardInterrupt, SystemExit) as interrupt:
        for note in getattr(interrupt, "__notes__", ()):  # how to go on
            tell(f"routilux: {printable(note)}")
        raise


def _changes(options: argparse.Namespace) -> bool:
    """Whether the job is to go on as something else than it is, which it cannot do where it runs."""
    return bool(options.rename or options.drop or options.flow or options.placement or options.address)


def _let_go_on(answer: Answer, owner: Owner, options: argparse.Namespace) -> int:
    was_paused = isinstance(answer, Resumed) and answer.was_paused
    line = f"job {options.job} goes on in {owner}" if was_paused else f"job {options.job} runs already, in {owner}"
    tell(printable(line))
    return 0
