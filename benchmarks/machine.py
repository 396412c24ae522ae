"""What a benchmark ran on: the machine, Python, and the versions of those who take part."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import psutil

from routilux import __version__

_DISTRIBUTIONS = (
    "pykka", "msgspec", "cloudpickle", "psutil", "numpy",
    "ray", "distributed", "xoscar", "loky", "pyzmq",
)  # fmt: skip


def describe() -> dict[str, str]:
    """Tell what this is, as names and values to be shown; what is not installed is left out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(cores),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "Python": platform.python_version(),
        "routilux": __version__,
    }
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
