"""`Ray`: what the workers of a routine on Ray need of its cluster, as options. Pure.

Owns their form and their checks, in Ray's own words, and whether Ray is installed. Never imports Ray.
"""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from routilux.errors import OptionError
from routilux.hints import describe_names
from routilux.quantities import is_number, is_whole

STRATEGIES = ("DEFAULT", "SPREAD")
"""Ray's words for how it chooses among nodes that have what a worker needs."""
LEAST_SHARE = 0.0001
"""The least of anything that Ray counts, other than nothing."""
_HAVE_WORDS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
"""What Ray knows by itself, with the option that it is asked for by."""
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"(?:[A-Za-z0-9][A-Za-z0-9.-]{{0,251}}[A-Za-z0-9]/)?{_NAME}")
_SELECTED = re.compile(rf"|!?{_NAME}|!?in\({_NAME}(?:, ?{_NAME})*\)")
"""As Ray has them, which has them from Kubernetes."""


class Ray(msgspec.Struct, frozen=True, kw_only=True):
    """What each worker of a routine with `placement="ray"` needs of the cluster.

    A worker waits for a node that has all of it free. What is said here is what Ray sets aside: it keeps a worker from
    being started where it is not free, and no worker from using more.

    Args:
        num_cpus: processors, also parts of one. 0 for handlers that mostly wait: then any number of them fits.
        num_gpus: GPUs; below 1 any part of one, above 1 whole ones.
        memory: bytes that are set aside; None for none. How much a worker may hold is said by `memory_limit`.
        resources: other things that its nodes were started with (`ray start --resources`), by name, and how much of
            each. Copied.
        label_selector: labels of the nodes that will do, with the value that each is to have, or `"!value"`,
            `"in(one, other)"`, `"!in(one, other)"`. `{"ray.io/node-id": ...}` names a single node. Copied.
        runtime_env: what is to be there where the worker runs, in Ray's words, such as `{"pip": ["pillow"]}` or
            `{"env_vars": {"A": "1"}}`; of text, numbers, lists and dicts, as a flow file can hold. Copied.
        scheduling_strategy: which of the nodes that will do: `"DEFAULT"`, as Ray sees fit, or `"SPREAD"`, each worker
            on another one where that can be. None for Ray's own choice.
        start_timeout: seconds until a worker must be ready, with all that Ray does before; one that is not is a worker
            that did not start. Where a cluster starts machines when they are needed, or `runtime_env` installs much,
            it takes minutes.

    Raises:
        OptionError: one of them has a value that it cannot have.
    """

    num_cpus: float = 1
    num_gpus: float = 0
    memory: int | None = None
    resources: dict[str, float] = {}
    label_selector: dict[str, str] = {}
    runtime_env: dict[str, Any] | None = None
    scheduling_strategy: str | None = None
    start_timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("resources", "label_selector", "runtime_env"):
            force_setattr(self, name, _copied(getattr(self, name)))
        for name, find_wrong in _CHECKS:
            value = getattr(self, name)
            expected = find_wrong(value)
            if expected is not None:
                raise OptionError(f"Ray: expected {name} to be {expected}, got {value!r}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Ray:
        """Make it of names and values, as a flow file has it.

        Raises:
            OptionError: one is unknown, or has a value that it cannot have.
        """
        for name in given:
            if name not in cls.__struct_fields__:
                known = describe_names(name, cls.__struct_fields__, "there are", "")
                raise OptionError(f"Ray: there is no {name!r}; {known}")
        return cls(**given)

    def changed(self) -> dict[str, Any]:
        """Give those that differ from what they are by themselves; `of` makes it again of them."""
        own = Ray()
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: _copied(value) for name, value in values.items() if value != getattr(own, name)}


def has_ray() -> bool:
    """Tell whether Ray is installed, without importing it."""
    try:
        found = importlib.util.find_spec("ray")
    except ValueError:  # somebody put a module there that says nothing of itself
        return "ray" in sys.modules
    # A folder of that name, such as one of a user's own, is found as a package without a file.
    return found is not None and found.origin is not None


def _copied(value: Any) -> Any:
    """Give plain data anew; what is none is given as it is, to be refused."""
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list | tuple) else value


def _find_wrong_cpus(value: Any) -> str | None:
    return None if _is_share(value, 0) else f"a number of at least 0, and if above it at least {LEAST_SHARE}"


def _find_wrong_gpus(value: Any) -> str | None:
    if _is_share(value, 0) and (value <= 1 or value == int(value)):
        return None
    return "a number of at least 0: a part of one, or whole ones"


def _find_wrong_memory(value: object) -> str | None:
    if value is None or (is_whole(value) and value <= sys.maxsize):
        return None
    return "a whole number of bytes of at least 1, or None"


def _find_wrong_resources(value: object) -> str | None:
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value):
        return "a dict of names and amounts, such as {'tape_drive': 1}"
    known = next((name for name in value if name in _HAVE_WORDS), None)
    if known is not None:
        return f"of other things than {known!r}, for which there is {_HAVE_WORDS[known]}"
    if "object_store_memory" in value:
        return "without 'object_store_memory', which Ray gives out as it is needed"
    if all(_is_share(amount, LEAST_SHARE) for amount in value.values()):
        return None
    return f"amounts of at least {LEAST_SHARE}, by name"


def _find_wrong_selector(value: object) -> str | None:
    expected = (
        "a dict of labels and values, such as {'market': 'spot'}, {'zone': '!a'} or {'gpu': 'in(A100, H100)'}; each of "
        "letters, digits, '-', '_' and '.'"
    )
    if not isinstance(value, dict):
        return expected
    fits = all(
        isinstance(text, str) and form.fullmatch(text)
        for pair in value.items()
        for text, form in zip(pair, (_LABEL, _SELECTED), strict=True)
    )
    return None if fits else expected


def _find_wrong_env(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not _is_plain(value):
        return "a dict of text, numbers, lists and dicts by names, or None"
    modules = value.get("py_modules", [])
    folders = [value.get("working_dir", ""), *(modules if isinstance(modules, list) else [modules])]
    if all(folder == "" or "://" in str(folder) for folder in folders):
        return None
    return (
        "without folders of this machine, which Ray sends for a whole program alone (ray job submit --working-dir . -- "
        "routilux run ...); working_dir and py_modules are addresses of archives here, such as 's3://code/flows.zip'"
    )


def _find_wrong_strategy(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in STRATEGIES):
        return None
    return f"one of {STRATEGIES}, or None; a single node is named by label_selector={{'ray.io/node-id': ...}}"


def _find_wrong_timeout(value: object) -> str | None:
    return None if is_number(value) and 0 < value < math.inf else "a number of seconds above 0"


_CHECKS: tuple[tuple[str, Callable[[Any], str | None]], ...] = (
    ("num_cpus", _find_wrong_cpus),
    ("num_gpus", _find_wrong_gpus),
    ("memory", _find_wrong_memory),
    ("resources", _find_wrong_resources),
    ("label_selector", _find_wrong_selector),
    ("runtime_env", _find_wrong_env),
    ("scheduling_strategy", _find_wrong_strategy),
    ("start_timeout", _find_wrong_timeout),
)


def _is_share(value: Any, least: float) -> bool:
    return is_number(value) and least <= value < math.inf and (value == 0 or value >= LEAST_SHARE)


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return type(value) in {bool, int, float, str}
