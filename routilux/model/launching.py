"""How the workers of a process routine are started and what of the machine they get, as options. Pure.

Owns the form of `start_method`, `preload`, `cpu_affinity` and `niceness`, their checks, and what is made of them for a
place. What this system has of them is asked of `supervisors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol, TypeGuard

from routilux.quantities import is_whole
from supervisors.cpus import count_pinnable
from supervisors.places.process.launch import Launch, StartMethod, has_zygotes

_LEAST_NICENESS, _MOST_NICENESS = -20, 19


class LaunchOptions(Protocol):
    """The options that this is about, and how many workers there are."""

    @property
    def pool(self) -> int:
        """How many there are at most."""

    @property
    def start_method(self) -> StartMethod | None:
        """How each is started."""

    @property
    def preload(self) -> list[str]:
        """What each has imported from the start."""

    @property
    def cpu_affinity(self) -> list[Any] | None:
        """Which processors all of them, or each of them, keep to."""

    @property
    def niceness(self) -> int | None:
        """The niceness of each."""


def normalized(given: dict[str, Any]) -> dict[str, Any]:
    """Give options with collections as lists, which a flow file can hold; what is none of them stays as it is."""
    changed = dict(given)
    if isinstance(given.get("preload"), list | tuple):
        changed["preload"] = list(given["preload"])
    affinity = given.get("cpu_affinity")
    if _is_group(affinity):
        changed["cpu_affinity"] = _sorted_numbers(affinity)
    return changed


def find_wrong_launch(options: LaunchOptions) -> tuple[str, str] | None:
    """Give the first of these options with a value it cannot have, and what it can be."""
    for name, is_wrong in _CHECKS:
        expected = is_wrong(options)
        if expected is not None:
            return name, expected
    return None


def to_launch(options: LaunchOptions, modules: Iterable[str]) -> Launch:
    """Give how the workers are started.

    Args:
        options: which were checked.
        modules: what workers need anyway, to be imported ahead of what the options name.
    """
    affinity = options.cpu_affinity or []
    shared = tuple(cpu for cpu in affinity if isinstance(cpu, int))
    cpus = (shared,) * options.pool if shared else tuple(tuple(own) for own in affinity)
    return Launch(options.start_method, (*modules, *options.preload), cpus, options.niceness)


def _find_wrong_method(options: LaunchOptions) -> str | None:
    if options.start_method not in {None, "zygote", "spawn"}:
        return "'zygote', 'spawn' or None"
    if options.start_method == "zygote" and not has_zygotes():
        return "'spawn' or None on this system, which has no zygotes"
    return None


def _find_wrong_preload(options: LaunchOptions) -> str | None:
    names: object = options.preload
    if isinstance(names, list) and all(isinstance(name, str) and _is_module_name(name) for name in names):
        return None
    return "a list of names of modules, such as ['numpy']"


def _find_wrong_affinity(options: LaunchOptions) -> str | None:
    affinity: object = options.cpu_affinity
    count = count_pinnable()
    if affinity is None:
        return None
    if not count:
        return "None on this system, which lets no process keep to some processors"
    if _is_some_cpus(affinity, count):
        return None
    groups = affinity if isinstance(affinity, list) else []
    if len(groups) == options.pool and all(_is_some_cpus(own, count) for own in groups):
        return None
    return (
        f"numbers of processors, 0 to {count - 1} here, such as {{0, 1}}, or a list of such sets, one for each of "
        f"{options.pool} workers"
    )


def _find_wrong_niceness(options: LaunchOptions) -> str | None:
    niceness = options.niceness
    if niceness is None or (is_whole(niceness, _LEAST_NICENESS) and niceness <= _MOST_NICENESS):
        return None
    return f"a whole number from {_LEAST_NICENESS} to {_MOST_NICENESS}, or None"


_CHECKS: tuple[tuple[str, Callable[[LaunchOptions], str | None]], ...] = (
    ("start_method", _find_wrong_method),
    ("preload", _find_wrong_preload),
    ("cpu_affinity", _find_wrong_affinity),
    ("niceness", _find_wrong_niceness),
)


def _is_module_name(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _is_group(value: object) -> TypeGuard[Collection[Any]]:
    return isinstance(value, list | tuple | set | frozenset | range)


def _is_some_cpus(value: object, count: int) -> bool:
    return isinstance(value, list) and bool(value) and all(is_whole(cpu, 0) and cpu < count for cpu in value)


def _sorted_numbers(group: Collection[Any]) -> list[Any]:
    """Give numbers in their order, each once; groups of them likewise, in the order they have."""
    members = [_sorted_numbers(member) if _is_group(member) else member for member in group]
    return sorted(set(members)) if all(is_whole(member, 0) for member in members) else members
