"""Which job is meant: by its id or the beginning of it, in a store or among those that run now, or the only one.

Owns the finding, and what is said where it is not clear. Sends no command but the question who somebody is.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from routilux.cli.errors import CommandError, UsageError
from routilux.cli.stored import STORE_VARIABLE, find_store, how_to_resume, name_store, stand
from routilux.control.finding import RunningJob, find_running
from routilux.hints import describe_names, list_names
from routilux.keeping.finding import OVER, summarize_job
from routilux.stores.base import Owner, Store, checked_job_id
from routilux.stores.errors import StoreError, UnknownJobError
from routilux.stores.opening import open_store


class Found(NamedTuple):
    """A job that was named.

    Args:
        job_id: its id.
        owner: who runs it; None for nobody.
        store: where it is kept; None for nowhere, or where that has no path.
        store_path: how that is named; "" for nowhere.
    """

    job_id: str
    owner: Owner | None
    store: Store | None
    store_path: str


def find_job(options: argparse.Namespace) -> Found:
    """Find the job that is meant, and note its id and its store in the options.

    With a store it is one of those in there. Without, or where the store of the environment has none of that name, it
    is one that runs now.

    Raises:
        UsageError: none is meant, or it is not clear which.
    """
    found = _find(options)
    options.job, options.store = found.job_id, found.store_path or None
    return found


def find_all(options: argparse.Namespace) -> list[tuple[Found, Owner]]:
    """Find all jobs that run, of a store or, where none is named, of this machine; with who runs each.

    Raises:
        UsageError: none does.
    """
    if name_store(options) is None:
        found = [(_to_found(job), job.owner) for job in find_running()]
    else:
        store = find_store(options)
        owners = ((job_id, _read_owner(store, job_id)) for job_id in store.jobs())
        found = [(Found(job_id, owner, store, options.store), owner) for job_id, owner in owners if owner is not None]
    if not found:
        raise UsageError("no job of yours runs here now" if options.store is None else "none of its jobs runs now")
    return found


def require_store(found: Found) -> Store:
    """Give the store of a job.

    Raises:
        CommandError: it is kept nowhere.
    """
    if found.store is None:
        raise CommandError(f"job {found.job_id!r} is kept nowhere: `routilux ps` tells how it does", 1)
    return found.store


def require_owner(options: argparse.Namespace, done: str) -> tuple[Found, Owner]:
    """As `find_job`, for a job that runs now; gives who runs it too.

    Args:
        options: those of the command.
        done: what cannot be done to a job that nobody runs, such as `paused`.

    Raises:
        CommandError: nobody runs it; it says how to go on with it.
    """
    found = find_job(options)
    if found.owner is not None:
        return found, found.owner
    told = f"job {found.job_id!r} cannot be {done}: nobody runs it"
    if found.store is not None:
        status = stand(found.store, summarize_job(found.store, found.job_id)).status
        told += f", and it is {status}"
        if status not in OVER:
            told += f"; go on with it by: {how_to_resume(found.job_id, found.store_path)}"
    raise CommandError(told, 1)


def split_words(options: argparse.Namespace) -> None:
    """Tell apart the job and what else is named behind it, where the job may be left out.

    The first word is the job if it names one, or if it is not clear that another one is meant: none, or several, run.
    """
    words: list[str] = options.words
    options.job = None
    if words and (_names_a_job(options, words[0]) or _count_running(options) != 1):
        options.job, words = words[0], words[1:]
    options.words = words


def split_routine(options: argparse.Namespace) -> str:
    """Tell apart the job and one routine of it, as `split_words`; gives "" where none is named.

    Raises:
        UsageError: more is named.
    """
    split_words(options)
    if len(options.words) > 1:
        raise UsageError(f"expected a job and a routine at most, got {' '.join(options.words)} too")
    return "".join(options.words)


def _find(options: argparse.Namespace) -> Found:
    if name_store(options) is None:
        return _find_running(options.job)
    is_from_environment = not options.store
    store = find_store(options)
    try:
        return _find_in_store(store, options)
    except UsageError as error:
        if not is_from_environment:
            raise
        try:
            return _find_running(options.job)
        except UsageError:
            raise error from None


def _find_in_store(store: Store, options: argparse.Namespace) -> Found:
    job_id, jobs = options.job, store.jobs()
    if job_id is None:
        running = [known for known in jobs if _read_owner(store, known) is not None]
        if len(running) != 1:
            known = describe_names(None, running, "there run", "none of its jobs runs")
            raise UsageError(f"say which job of {store} is meant: {known}")
        job_id = running[0]
    try:
        return Found(job_id, store.owner(checked_job_id(job_id)), store, options.store)
    except UnknownJobError as error:
        beginning = [known for known in jobs if known.startswith(job_id)]
        if len(beginning) == 1:
            return Found(beginning[0], store.owner(beginning[0]), store, options.store)
        if beginning:
            raise UsageError(
                f"{job_id!r} begins the ids of several jobs of {store}: {list_names(beginning)}"
            ) from error
        known = describe_names(job_id, jobs, "its jobs are", "it has no jobs")
        raise UsageError(f"{error}; {known}") from error


def _find_running(job_id: str | None) -> Found:
    running = find_running()
    if job_id is None:
        if len(running) != 1:
            raise UsageError(
                f"say which job is meant: these run now: {list_names([job.identity.job_id for job in running])}"
                if running
                else f"no job of yours runs here now; of one that is kept, say with --store or ${STORE_VARIABLE} where"
            )
        return _to_found(running[0])
    matching = [job for job in running if job.identity.job_id == job_id]
    if not matching:
        matching = [job for job in running if job_id and job.identity.job_id.startswith(job_id)]
    if len(matching) > 1:
        ids = [f"{job.identity.job_id} in {job.owner}" for job in matching]
        raise UsageError(f"{job_id!r} may be one of several jobs that run now: {list_names(ids)}")
    if not matching:
        ids = [job.identity.job_id for job in running]
        known = describe_names(job_id, ids, "those that do are", "none does")
        where = f"of one that is kept, say with --store or ${STORE_VARIABLE} where"
        raise UsageError(f"no job {job_id!r} of yours runs here now; {known}; {where}")
    return _to_found(matching[0])


def _to_found(job: RunningJob) -> Found:
    path = job.identity.store
    return Found(job.identity.job_id, job.owner, open_store(path) if path else None, path)


def _names_a_job(options: argparse.Namespace, word: str) -> bool:
    """Whether a word is a job's id, or the beginning of one or several: then it is no routine, nor a message."""
    known: list[str] = []
    if name_store(options) is not None:
        known += find_store(argparse.Namespace(store=options.store)).jobs()
    if not options.store:
        known += [job.identity.job_id for job in find_running()]
    return any(job_id.startswith(word) for job_id in known)


def _count_running(options: argparse.Namespace) -> int:
    if name_store(options) is None:
        return len(find_running())
    store = find_store(argparse.Namespace(store=options.store))
    return sum(_read_owner(store, job_id) is not None for job_id in store.jobs())


def _read_owner(store: Store, job_id: str) -> Owner | None:
    try:
        return store.owner(job_id)
    except StoreError:
        return None  # removed meanwhile, or unreadable: `jobs` tells
