"""The three kinds of files: what their text is, as dicts and lists.

Owns the choice by the file's ending, and the two libraries that are extras. Never knows what the content means.
"""

from __future__ import annotations

import importlib
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from routilux.errors import MissingExtraError
from routilux.flowfile.errors import FlowFileError


class Format(NamedTuple):
    """One kind of file.

    Args:
        parse: gives the content of a text; raises `ValueError` for what is no such text.
        write: gives the text of a content.
    """

    parse: Callable[[str], Any]
    write: Callable[[Any], str]


def is_flow_file(name: str) -> bool:
    """Tell whether a file of that name is a flow file, by its ending."""
    return Path(name).suffix.lower() in FORMATS


def read_content(path: str | os.PathLike[str]) -> Any:
    """Give the content of a file.

    Raises:
        FlowFileError: its ending is not known, or its text is none of that kind.
        MissingExtraError: its kind takes a library that is not installed.
        OSError: it cannot be read.
    """
    file = Path(path)
    kind = _format_of(file)
    try:
        return kind.parse(file.read_text("utf-8"))
    except ValueError as error:  # also that of a text that is no UTF-8
        raise FlowFileError(str(file), "", f"it is no {file.suffix[1:].upper()}: {error}") from error


def write_content(path: str | os.PathLike[str], content: Any) -> None:
    """Write a file in the place of the one there; raises as `read_content`."""
    file = Path(path)
    text = _format_of(file).write(content)
    file.write_text(text, "utf-8")


def _format_of(file: Path) -> Format:
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise FlowFileError(str(file), "", f"expected a file that ends with one of {list(FORMATS)}")
    return kind


def _parse_yaml(text: str) -> Any:
    yaml = _need("yaml", "PyYAML")
    try:
        return yaml.load(text, Loader=_yaml_loader(yaml))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _yaml_loader(yaml: Any) -> Any:
    """Give the loader that makes plain data alone, and takes no key twice."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # its module may not be there
        pass

    def make_dict(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
        made: dict[Any, Any] = loader.construct_mapping(node, deep=True)
        return made

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, make_dict)
    return Loader


def _write_yaml(content: Any) -> str:
    text: str = _need("yaml", "PyYAML").safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _write_toml(content: Any) -> str:
    text: str = _need("tomli_w", "tomli-w").dumps(content)
    return text


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return made


def _need(module: str, project: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"flow files of this kind take {project}", "files") from error


FORMATS = {
    ".toml": Format(tomllib.loads, _write_toml),
    ".yaml": Format(_parse_yaml, _write_yaml),
    ".yml": Format(_parse_yaml, _write_yaml),
    ".json": Format(_parse_json, lambda content: json.dumps(content, indent=2, ensure_ascii=False) + "\n"),
}
