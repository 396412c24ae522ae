from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from routilux import Ray
from routilux.errors import OptionError
from routilux.model.ray import has_ray
from tests.rays import hide_ray, show_ray

FULL: dict[str, Any] = {
    "num_cpus": 0.5,
    "num_gpus": 2,
    "memory": 2**30,
    "resources": {"tape_drive": 0.25},
    "label_selector": {"ray.io/accelerator-type": "in(A100, H100)", "zone": "!a", "spot": ""},
    "runtime_env": {
        "working_dir": "s3://a/b.zip",
        "pip": ["pillow"],
        "env_vars": {"A": "1"},
        "config": {"eager_install": True},
    },
    "scheduling_strategy": "SPREAD",
    "start_timeout": 300,
}


def test_nothing_said_is_one_processor_and_a_minute() -> None:
    ray = Ray()
    assert (ray.num_cpus, ray.num_gpus, ray.memory, ray.start_timeout) == (1, 0, None, 60.0)
    assert (ray.resources, ray.label_selector, ray.runtime_env, ray.scheduling_strategy) == ({}, {}, None, None)
    assert ray.changed() == {}


def test_what_was_said_is_told_and_makes_the_same_again() -> None:
    ray = Ray(**FULL)
    assert ray.changed() == FULL
    assert Ray.of(ray.changed()) == ray


def test_what_was_given_is_copied_and_so_is_what_is_told() -> None:
    resources, env = {"tape_drive": 1.0}, {"pip": ["pillow"]}
    ray = Ray(resources=resources, runtime_env=env)
    resources["tape_drive"] = 2.0
    env["pip"].append("numpy")
    told = ray.changed()
    told["runtime_env"]["pip"].append("scipy")
    assert (ray.resources, ray.runtime_env) == ({"tape_drive": 1.0}, {"pip": ["pillow"]})


def test_a_tuple_is_kept_as_a_list_which_a_file_can_hold() -> None:
    assert Ray(runtime_env={"pip": ("a", "b")}).runtime_env == {"pip": ["a", "b"]}


@pytest.mark.parametrize("gpus", [0, 0.0001, 0.5, 1, 1.0, 3, 4.0])
def test_of_a_gpu_there_are_parts_and_of_several_whole_ones(gpus: float) -> None:
    assert Ray(num_gpus=gpus).num_gpus == gpus


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("num_cpus", -1, ["at least 0", "got -1"]),
        ("num_cpus", True, ["got True"]),
        ("num_cpus", 0.00001, ["at least 0.0001"]),
        ("num_cpus", float("nan"), ["got nan"]),
        ("num_cpus", "1", ["got '1'"]),
        ("num_gpus", 1.5, ["a part of one, or whole ones", "got 1.5"]),
        ("num_gpus", float("inf"), ["got inf"]),
        ("memory", 0, ["whole number of bytes", "got 0"]),
        ("memory", 1e9, ["whole number of bytes"]),
        ("resources", ["a"], ["a dict of names and amounts"]),
        ("resources", {1: 1}, ["a dict of names and amounts"]),
        ("resources", {"a": 0}, ["at least 0.0001"]),
        ("resources", {"GPU": 1}, ["'GPU'", "num_gpus"]),
        ("resources", {"CPU": 1}, ["'CPU'", "num_cpus"]),
        ("resources", {"memory": 1}, ["'memory'"]),
        ("resources", {"object_store_memory": 1}, ["object_store_memory"]),
        ("label_selector", "a=b", ["{'market': 'spot'}", "got 'a=b'"]),
        ("label_selector", {"market": 1}, ["letters, digits"]),
        ("label_selector", {"-market": "spot"}, ["letters, digits"]),
        ("label_selector", {"market": "in()"}, ["letters, digits"]),
        ("label_selector", {"market": "in(a,"}, ["letters, digits"]),
        ("label_selector", {"market": "!!a"}, ["letters, digits"]),
        ("runtime_env", "pip", ["a dict of text"]),
        ("runtime_env", {"working_dir": Path()}, ["a dict of text"]),
        ("runtime_env", {"working_dir": "."}, ["ray job submit", "s3://", "got {'working_dir': '.'}"]),
        ("runtime_env", {"py_modules": ["s3://a/b.zip", "mine"]}, ["ray job submit"]),
        ("runtime_env", {"a": {1: 2}}, ["a dict of text"]),
        ("runtime_env", {"a": None}, ["a dict of text"]),
        ("scheduling_strategy", "PACK", ["'DEFAULT', 'SPREAD'", "ray.io/node-id"]),
        ("scheduling_strategy", 1, ["got 1"]),
        ("start_timeout", 0, ["seconds above 0"]),
        ("start_timeout", float("inf"), ["seconds above 0"]),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_made(name: str, value: Any, words: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        Ray(**{name: value})
    for word in [f"Ray: expected {name} to be", *words]:
        assert word in str(caught.value)


def test_a_name_that_is_none_is_told_with_what_may_be_meant() -> None:
    with pytest.raises(OptionError, match=r"Ray: there is no 'num_gpu'; .*did you mean 'num_gpus'"):
        Ray.of({"num_gpu": 1})


def test_it_is_known_without_an_import_whether_ray_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as hidden:
        hide_ray(hidden)
        assert not has_ray()
    with monkeypatch.context() as shown:
        show_ray(shown)
        assert has_ray()
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "ray").mkdir()
    assert not has_ray(), "a folder of that name is no Ray"
    (tmp_path / "ray" / "__init__.py").touch()
    sys.path_importer_cache.pop(str(tmp_path), None)
    assert has_ray()
    assert "ray" not in sys.modules
