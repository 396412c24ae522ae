"""What `Ray` takes Ray takes, and what it refuses Ray refuses: by the checks of Ray, which need no cluster."""

from __future__ import annotations

from typing import Any

import pytest

from routilux import Ray
from routilux.errors import OptionError
from routilux.model.ray import has_ray
from tests.model.test_ray import FULL

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray


def asked_for(**options: Any) -> None:
    """Ask Ray for an actor with these options, and make none."""

    class Nothing:
        pass

    ray.remote(Nothing).options(**options)


@pytest.mark.parametrize(
    "given",
    [
        {},
        FULL,
        {"num_cpus": 0.0001, "num_gpus": 0.0001},
        {"label_selector": {"ray.io/node-id": "ab12"}, "scheduling_strategy": "DEFAULT"},
        {"label_selector": {"example.org/zone": "!in(a, b)", "a.b_c-d": "e.f_g-h", "x" * 63: "!" + "y" * 63}},
    ],
)
def test_what_is_taken_here_ray_takes(given: dict[str, Any]) -> None:
    asked_for(**{name: value for name, value in Ray(**given).changed().items() if name != "start_timeout"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_cpus", -1),
        ("num_cpus", 0.00001),
        ("memory", -1),
        ("resources", {"GPU": 1}),
        ("resources", {"CPU": 1}),
        ("resources", {"a": -1}),
        ("label_selector", {"-market": "spot"}),
        ("label_selector", {"market": "in()"}),
        ("label_selector", {"market": "!!a"}),
        ("label_selector", {"x" * 64: "a"}),
        ("runtime_env", "pip"),
        ("runtime_env", {"working_dir": "."}),
        ("runtime_env", {"py_modules": ["mine"]}),
    ],
)
def test_what_ray_refuses_is_refused_here_before(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        asked_for(**{name: value})
    with pytest.raises(OptionError):
        Ray(**{name: value})


def test_it_is_known_to_be_there() -> None:
    assert has_ray()
