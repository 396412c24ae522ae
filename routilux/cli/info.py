"""`routilux info`: what a report of a fault should say of the machine and of what is installed.

Owns what is told. Loads none of the libraries, starts nothing, and tells no name of a user's: a home folder is `~`.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import msgspec

from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.stored import STORE_VARIABLE, tell_size
from routilux.control.errors import ControlError
from routilux.control.folder import find_folder
from routilux.frames import FULL_TRACEBACK
from routilux.version import VERSION
from supervisors.cpus import read_quota, runnable_cpus, usable_cpus
from supervisors.places.process.launch import default_start_method, has_zygotes
from supervisors.places.process.sizing import default_limit, machine_bytes, read_memory_bound
from supervisors.text import printable

SETTINGS = {STORE_VARIABLE: "", FULL_TRACEBACK: "0"}
"""What the environment may set, by name, with what holds where it does not."""
LIBRARIES = ["cloudpickle", "msgspec", "psutil", "pykka"]
"""What is required, for where nothing says so: routilux is run as it lies in its repository."""
_PREFIX = "ROUTILUX_"
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*(?:;.*extra *== *[\"']([^\"']+)[\"'])?.*")
_NOT_THERE = "not installed"


class Processors(msgspec.Struct):
    """How many there are.

    Args:
        usable: how many this program gets the work of at a time (`routilux.usable_cpus`).
        machine: in the machine.
        affinity: that it may run on.
        quota: the time that a control group allows it, in processors; None for no limit.
    """

    usable: int
    machine: int | None
    affinity: int
    quota: float | None


class Memory(msgspec.Struct):
    """How much there is.

    Args:
        machine_bytes: in the machine.
        limit_bytes: what a control group allows this program; None for no limit.
        shared_limit_bytes: what a job shares with its workers at most, unless it says otherwise.
    """

    machine_bytes: int
    limit_bytes: int | None
    shared_limit_bytes: int


class Setting(msgspec.Struct):
    """One setting: what holds, and where it comes from (`default`, `environment`, or `environment, unknown`)."""

    value: str
    origin: str


class Info(msgspec.Struct):
    """All that is told.

    Args:
        version: of routilux.
        folder: where it is.
        python: version and kind.
        executable: the interpreter.
        platform: system, release, machine and C library.
        required: versions of what it requires, by name.
        extras: for each extra the versions of what it takes.
        processors: how many.
        memory: how much.
        start_methods: how workers can be started, the default first.
        open_files: how many this program may have open.
        control_folder: where sockets for commands are made; or why none can be.
        settings: by name.
    """

    version: str
    folder: str
    python: str
    executable: str
    platform: str
    required: dict[str, str]
    extras: dict[str, dict[str, str]]
    processors: Processors
    memory: Memory
    start_methods: list[str]
    open_files: int | None
    control_folder: str
    settings: dict[str, Setting]


def add_info(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("info", description=info.__doc__, examples=["routilux info", "routilux info --json"])
    parser.add_argument("--json", action="store_true", help="print it as a JSON object on stdout")
    parser.set_defaults(command=info)


def info(options: argparse.Namespace) -> int:
    """Tell what a report of a fault should say: versions, processors and memory with their limits, and settings."""
    found = collect(os.environ)
    if options.json:
        write_result(msgspec.json.encode(found).decode() + "\n")
    else:
        write_result("".join(f"{printable(line)}\n" for line in tell(found)))
    return 0


def collect(environment: Mapping[str, str]) -> Info:
    """Find all that is told.

    Args:
        environment: variables of this process, by name.
    """
    required, extras = read_requirements(requires_of("routilux") or LIBRARIES)
    start_method = default_start_method()
    return Info(
        version=VERSION,
        folder=_short(Path(__file__).resolve().parents[1]),
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        executable=_short(Path(sys.executable)),
        platform=platform.platform(),
        required=required,
        extras=extras,
        processors=Processors(usable_cpus(), os.cpu_count(), runnable_cpus(), read_quota()),
        memory=_read_memory(),
        start_methods=[start_method, *({"spawn", *(["zygote"] if has_zygotes() else [])} - {start_method})],
        open_files=_open_files(),
        control_folder=_control_folder(),
        settings=read_settings(environment),
    )


def tell(found: Info) -> Iterator[str]:
    """Tell it in lines."""
    processors, memory = found.processors, found.memory
    yield f"routilux {found.version} in {found.folder}"
    yield f"Python {found.python}, {found.executable}"
    yield found.platform
    yield f"requires: {_tell_versions(found.required)}"
    for extra, versions in found.extras.items():
        yield f"extra {extra}: {_tell_versions(versions)}"
    quota = "no limit" if processors.quota is None else f"{processors.quota:g}"
    yield (
        f"processors: {processors.usable} usable ({processors.machine} in the machine, {processors.affinity} by "
        f"affinity, {quota} by control group)"
    )
    limit = "no limit" if memory.limit_bytes is None else tell_size(memory.limit_bytes)
    yield (
        f"memory: {tell_size(memory.machine_bytes)} in the machine, {limit} by control group; "
        f"a job shares {tell_size(memory.shared_limit_bytes)} with its workers at most"
    )
    yield f"workers are started by: {', or '.join(found.start_methods)}"
    yield f"open files: {'no limit' if found.open_files is None else f'{found.open_files:,}'}"
    yield f"control folder: {found.control_folder}"
    for name, setting in found.settings.items():
        yield f"{name}={setting.value} ({setting.origin})"


def requires_of(name: str) -> list[str]:
    """Give what a distribution requires, as its metadata tells; nothing for one that is not installed."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def read_requirements(lines: list[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Give the versions of what is required, and of what each extra takes, by name."""
    required: dict[str, str] = {}
    extras: dict[str, dict[str, str]] = {}
    for line in lines:
        found = _REQUIREMENT.fullmatch(line)
        if found is not None:
            (required if found[2] is None else extras.setdefault(found[2], {}))[found[1]] = _version_of(found[1])
    return required, extras


def read_settings(environment: Mapping[str, str]) -> dict[str, Setting]:
    """Give all settings, those that mean nothing too: they may be misspelt."""
    known = {
        name: Setting(_short(environment[name]), "environment") if name in environment else Setting(value, "default")
        for name, value in SETTINGS.items()
    }
    unknown = {
        name: Setting(_short(value), "environment, unknown")
        for name, value in sorted(environment.items())
        if name.startswith(_PREFIX) and name not in SETTINGS
    }
    return known | unknown


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _NOT_THERE


def _tell_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {found}" for name, found in versions.items())


def _read_memory() -> Memory:
    machine, bound = machine_bytes(), read_memory_bound()
    # Version 1 of control groups has a number of its own for no limit, larger than any machine.
    return Memory(machine, None if bound is None or bound >= machine else bound, default_limit())


def _open_files() -> int | None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _control_folder() -> str:
    try:
        return _short(find_folder())
    except ControlError as error:
        return f"none: {error}"


def _short(place: Path | str) -> str:
    home, told = str(Path.home()), str(place)
    return told if home == "/" else f"{told}/".replace(f"{home}/", "~/").removesuffix("/")
