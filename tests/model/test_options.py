from __future__ import annotations

from typing import Any

import pytest

from routilux import Ray
from routilux.errors import OptionError
from routilux.model.error_handler import ErrorHandler
from routilux.model.options import RoutineOptions


def test_the_defaults_are_a_thread_without_limits() -> None:
    options = RoutineOptions.of("parse", {})
    assert (options.placement, options.workers, options.timeout, options.atomic) == ("thread", 1, None, False)
    assert (options.capacity, options.max_restarts, options.restart_period) == (1_000, 3, 5.0)
    assert options.error_handler is None


def test_a_process_takes_every_option() -> None:
    given = {
        "placement": "process",
        "workers": 2,
        "timeout": 30,
        "memory_limit": 2**24,
        "start_method": "spawn",
        "preload": ["json", "email.mime.text"],
        "cpu_affinity": [[0], [0]],
        "niceness": 5,
        "error_handler": ErrorHandler("retry"),
        "atomic": True,
        "capacity": 1,
        "max_restarts": 0,
        "restart_period": 0.5,
    }
    options = RoutineOptions.of("parse", given)
    assert {name: getattr(options, name) for name in given} == given


def test_what_goes_with_a_process_goes_with_ray_but_for_what_is_of_this_machine() -> None:
    given = {"workers": (1, 8), "timeout": 30, "memory_limit": 2**24, "preload": ["json"], "ordered": True}
    options = RoutineOptions.of("parse", {"placement": "ray", "ray": {"num_gpus": 1}, **given})
    assert {name: getattr(options, name) for name in given} == given
    assert options.ray == Ray(num_gpus=1)
    assert options.changed() == {"placement": "ray", "ray": {"num_gpus": 1}, **given}
    assert RoutineOptions.of("parse", options.changed()) == options
    assert RoutineOptions.of("parse", {"placement": "ray", "partition_by": "key"}).ray is None


def test_where_a_routine_runs_is_asked_in_two_ways() -> None:
    told = {at: RoutineOptions.of("parse", {"placement": at}) for at in ("thread", "process", "ray")}
    assert [at for at, own in told.items() if own.runs_apart] == ["process", "ray"]
    assert [at for at, own in told.items() if own.is_local] == ["process"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"placement": "proces"}, ["placement", "'thread', 'process', 'ray'", "'proces'"]),
        ({"placement": None}, ["placement", "None"]),
        ({"workers": 0, "placement": "process"}, ["workers", "at least 1", "got 0"]),
        ({"workers": 2.0, "placement": "process"}, ["workers", "got 2.0"]),
        ({"workers": True, "placement": "process"}, ["workers", "got True"]),
        ({"workers": 2}, ["workers", "on a thread", "placement='process'", "got 2"]),
        ({"timeout": -1}, ["timeout", "seconds above 0", "got -1"]),
        ({"max_abandoned": -1}, ["max_abandoned", "at least 0", "got -1"]),
        ({"timeout": 0, "placement": "process"}, ["timeout", "seconds above 0", "got 0"]),
        ({"timeout": float("inf"), "placement": "process"}, ["timeout", "got inf"]),
        ({"timeout": "3", "placement": "process"}, ["timeout", "got '3'"]),
        ({"memory_limit": 2**30}, ["memory_limit", "on a thread", "use placement='process'", "got 1073741824"]),
        ({"memory_limit": 2**24 - 1, "placement": "process"}, ["memory_limit", "at least 16777216", "got 16777215"]),
        ({"memory_limit": 1e9, "placement": "process"}, ["memory_limit", "whole number of bytes", "got 1000000000.0"]),
        ({"memory_limit": 2**70, "placement": "process"}, ["memory_limit", "whole number of bytes"]),
        ({"start_method": "fork", "placement": "process"}, ["start_method", "'zygote', 'spawn'", "got 'fork'"]),
        ({"start_method": "spawn"}, ["start_method", "on a thread", "use placement='process'"]),
        ({"preload": "numpy", "placement": "process"}, ["preload", "such as ['numpy']", "got 'numpy'"]),
        ({"preload": ["a-b"], "placement": "process"}, ["preload", "got ['a-b']"]),
        ({"preload": [1], "placement": "process"}, ["preload", "got [1]"]),
        ({"preload": ["numpy"]}, ["preload", "[] on a thread", "use placement='process'"]),
        ({"cpu_affinity": {0}}, ["cpu_affinity", "on a thread", "use placement='process'"]),
        ({"cpu_affinity": [], "placement": "process"}, ["cpu_affinity", "got []"]),
        ({"cpu_affinity": 0, "placement": "process"}, ["cpu_affinity", "numbers of processors, 0 to", "got 0"]),
        ({"cpu_affinity": {1_000_000}, "placement": "process"}, ["cpu_affinity", "got [1000000]"]),
        ({"cpu_affinity": [True], "placement": "process"}, ["cpu_affinity", "got [True]"]),
        ({"cpu_affinity": [{0}, {0}], "placement": "process"}, ["cpu_affinity", "one for each of 1 workers"]),
        ({"cpu_affinity": [{0}, set()], "placement": "process", "workers": 2}, ["cpu_affinity", "got [[0], []]"]),
        ({"niceness": 20, "placement": "process"}, ["niceness", "from -20 to 19", "got 20"]),
        ({"niceness": 1.5, "placement": "process"}, ["niceness", "got 1.5"]),
        ({"niceness": 5}, ["niceness", "on a thread", "use placement='process'"]),
        ({"error_handler": "retry"}, ["error_handler", "ErrorHandler('retry')"]),
        ({"atomic": 1}, ["atomic", "got 1"]),
        ({"capacity": 0}, ["capacity", "at least 1", "got 0"]),
        ({"capacity": None}, ["capacity", "got None"]),
        ({"max_restarts": -1}, ["max_restarts", "at least 0", "got -1"]),
        ({"restart_period": 0.0}, ["restart_period", "got 0.0"]),
        ({"ray": Ray()}, ["ray", "on a thread", "use placement='ray'"]),
        ({"ray": Ray(), "placement": "process"}, ["ray", "of this machine", "use placement='ray'"]),
        ({"ray": 3, "placement": "ray"}, ["ray", "a Ray, a dict", "got 3"]),
        ({"ray": {"num_gpu": 1}, "placement": "ray"}, ["Ray: there is no 'num_gpu'", "did you mean 'num_gpus'?"]),
        ({"ray": {"num_gpus": 1.5}, "placement": "ray"}, ["expected num_gpus", "got 1.5"]),
        ({"start_method": "spawn", "placement": "ray"}, ["start_method", "on Ray", "runtime_env", "got 'spawn'"]),
        ({"cpu_affinity": {0}, "placement": "ray"}, ["cpu_affinity", "on Ray", "num_cpus", "got [0]"]),
        ({"niceness": 5, "placement": "ray"}, ["niceness", "on Ray", "got 5"]),
        ({"concurrency": 2, "placement": "ray"}, ["concurrency", "1 on Ray", "workers=n", "got 2"]),
        ({"preload": ["a-b"], "placement": "ray"}, ["preload", "got ['a-b']"]),
        ({"worker": 2}, ["there is no option 'worker'", "'placement'", "did you mean 'workers'?"]),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_routine_field_and_value(
    given: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        RoutineOptions.of("parse", given)
    for word in ["routine 'parse'", *words]:
        assert word in str(caught.value)
