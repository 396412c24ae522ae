"""A flow as the content of a file that people write, and back.

Owns the words of the file and the checks, which name the place in the file. Never opens one.

A routine is told as what makes it: a name, and the arguments of its class. So a flow whose routines were changed after
they were made is refused here; `Flow.serialize` has all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeVar

from routilux.conversion import convert_arguments
from routilux.errors import CallerError
from routilux.flowfile.errors import FlowFileError
from routilux.hints import did_you_mean
from routilux.model.error_handler import ErrorHandler
from routilux.model.function import FunctionRoutine, routine
from routilux.model.graph import FlowGraph
from routilux.model.routine import Routine
from routilux.serial.errors import ValueReadingError
from routilux.serial.naming import Naming
from routilux.serial.plain_writer import write_plain
from supervisors.errors import ValueEncodingError
from supervisors.tracebacks import text_of, type_name
from supervisors.wire.values import RefusedPartError

FORMAT = 1
"""What is read and written here."""
_WORDS = ("format", "flow", "error_handler", "routines", "connections", "outputs")
_OF_ROUTINE = ("use", "with", "config", "error_handler")
_OF_CONNECTION = ("from", "to", "map")
_OF_OUTPUT = ("event", "capacity")
_TOLD = 200
"""Characters of what somebody's constructor raised."""

_Graph = TypeVar("_Graph", bound=FlowGraph)
_T = TypeVar("_T")


def fill_flow(make: type[_Graph], content: Any, file: str, naming: Naming) -> _Graph:
    """Make a flow of the content of a file.

    Args:
        make: the class of the flow.
        content: the content.
        file: the file's name, for errors.
        naming: what the names of classes and functions stand for.

    Raises:
        FlowFileError: it describes no flow; it names the place.
    """
    return _Reader(file, naming).read(make, content)


def tell_flow(flow: FlowGraph, naming: Naming) -> dict[str, Any]:
    """Give a flow as the content of a file.

    Raises:
        FlowFileError: a part of it cannot be told there; it names the part.
    """
    return _Teller(naming).tell(flow)


class _Reader:
    def __init__(self, file: str, naming: Naming) -> None:
        self._file = file
        self._naming = naming

    def read(self, make: type[_Graph], content: Any) -> _Graph:
        told = self._dict(content, "", _WORDS)
        version = told.get("format", FORMAT)
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise self._wrong("format", f"expected {FORMAT}, got {version!r}: a newer version may have written it")
        with _At(self, "flow"):
            flow = make(self._expect(told["flow"], str, "flow") if "flow" in told else None)
        if "error_handler" in told:
            flow.set_error_handler(self._handler(told["error_handler"], "error_handler"))
        routines = self._dict(told.get("routines", {}), "routines")
        for routine_id, told_routine in routines.items():
            self._add(flow, routine_id, told_routine, f"routines.{routine_id}")
        for index, link in enumerate(self._expect(told.get("connections", []), list, "connections")):
            self._connect(flow, link, f"connections[{index}]")
        for index, output in enumerate(self._expect(told.get("outputs", []), list, "outputs")):
            path = f"outputs[{index}]"
            words = self._dict(output, path, _OF_OUTPUT)
            with _At(self, path):
                flow.output(*self._ends(flow, words, "event", path), words.get("capacity"))
        return flow

    def _add(self, flow: FlowGraph, routine_id: str, content: Any, path: str) -> None:
        told = dict(self._dict(content, path))
        if "use" not in told:
            near = did_you_mean("use", tuple(told))
            raise self._wrong(path, f"expected 'use', the registered name of a routine{near}")
        name = self._expect(told.pop("use"), str, f"{path}.use")
        made = self._make(name, self._dict(told.pop("with", {}), f"{path}.with"), path)
        config = self._dict(told.pop("config", {}), f"{path}.config")
        if "error_handler" in told:
            told["error_handler"] = self._handler(told["error_handler"], f"{path}.error_handler")
        with _At(self, path):
            made.set_config(**config)
            flow.add_routine(made, routine_id, **told)

    def _make(self, name: str, arguments: dict[str, Any], path: str) -> Routine:
        try:
            found = self._naming.find_named(name)
        except ValueReadingError as error:
            raise self._wrong(f"{path}.use", str(error)) from error
        if isinstance(found, type) and issubclass(found, Routine):
            with _At(self, path):
                given = convert_arguments(found, arguments, "with")
                _check_arguments(found, given)
                return found(**given)
        if arguments:
            raise self._wrong(f"{path}.with", f"{name!r} is a function, which is made with nothing")
        if isinstance(found, FunctionRoutine):
            return found.again()
        if callable(found) and not isinstance(found, type):
            with _At(self, f"{path}.use"):
                return routine(found)
        raise self._wrong(f"{path}.use", f"{name!r} is no routine and no function")

    def _connect(self, flow: FlowGraph, content: Any, path: str) -> None:
        words = self._dict(content, path, _OF_CONNECTION)
        with _At(self, path):
            source, target = (self._ends(flow, words, word, path) for word in ("from", "to"))
            flow.connect(*source, *target, words.get("map"))

    def _handler(self, content: Any, path: str) -> ErrorHandler:
        told: dict[str, Any] = {"strategy": content} if isinstance(content, str) else dict(self._dict(content, path))
        if "retryable_exceptions" in told:
            names = self._expect(told["retryable_exceptions"], list, f"{path}.retryable_exceptions")
            told["retryable_exceptions"] = tuple(self._exception(name, path) for name in names)
        with _At(self, path):
            _check_arguments(ErrorHandler, told)
            return ErrorHandler(**told)

    def _exception(self, name: Any, path: str) -> Any:
        try:
            return self._naming.find_class(self._expect(name, str, f"{path}.retryable_exceptions"))
        except ValueReadingError as error:
            raise self._wrong(f"{path}.retryable_exceptions", str(error)) from error

    def _ends(self, flow: FlowGraph, words: dict[str, Any], word: str, path: str) -> tuple[str, str]:
        text = self._expect(words.get(word, ""), str, f"{path}.{word}")
        # Ids may have dots in them, and so may names.
        splits = [
            (text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "." and 0 < at < len(text) - 1
        ]
        if not splits:
            raise self._wrong(f"{path}.{word}", f"expected 'ROUTINE.NAME', got {text!r}")
        known = [(id_, name) for id_, name in splits if id_ in flow.routines]
        whole = [(id_, name) for id_, name in known if name in (*flow.routines[id_].events, *flow.routines[id_].slots)]
        return (whole or known or splits)[-1]

    def _dict(self, content: Any, path: str, words: tuple[str, ...] = ()) -> dict[str, Any]:
        told: dict[str, Any] = self._expect(content, dict, path)
        for key in told:
            if type(key) is not str:
                raise self._wrong(path, f"expected names, got {key!r}; write it in quotes")
            if words and key not in words:
                raise self._wrong(path, f"there is no {key!r} here: expected {list(words)}{did_you_mean(key, words)}")
        return told

    def _expect(self, value: Any, kind: type[_T], path: str) -> _T:
        if type(value) is not kind:
            raise self._wrong(path, f"expected {_KINDS[kind]}, got {value!r}")
        return value

    def _wrong(self, path: str, what: str) -> FlowFileError:
        return FlowFileError(self._file, path, what)

    def wrong(self, path: str, error: BaseException) -> FlowFileError:
        """Give the error for what somebody raised about a place."""
        what = str(error) if isinstance(error, CallerError) else f"{type_name(type(error))}: {text_of(error, _TOLD)}"
        return self._wrong(path, what)


_KINDS: dict[type, str] = {str: "a text", dict: "a table of names and values", list: "a list"}


class _At:
    """A step that says of what goes wrong in it at which place of the file it is."""

    def __init__(self, reader: _Reader, path: str) -> None:
        self._reader = reader
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, FlowFileError):
            raise self._reader.wrong(self._path, error) from error


def _check_arguments(make: Any, given: Mapping[str, Any]) -> None:
    try:
        inspect.signature(make).bind(**given)
    except TypeError as error:
        names = [name for name in inspect.signature(make).parameters if name != "self"]
        unknown = next((name for name in given if name not in names), None)
        raise WrongArgumentsError(f"{error}; it takes {names}{did_you_mean(unknown, names)}") from error


class WrongArgumentsError(CallerError, ValueError):
    """A class is made with other arguments than it takes."""


class _Teller:
    def __init__(self, naming: Naming) -> None:
        self._naming = naming

    def tell(self, flow: FlowGraph) -> dict[str, Any]:
        content: dict[str, Any] = {"format": FORMAT, "flow": flow.flow_id}
        if flow.error_handler is not None:
            content["error_handler"] = self._handler(flow.error_handler, "error_handler")
        content["routines"] = {
            routine_id: self._routine(flow, routine_id, f"routines.{routine_id}") for routine_id in flow.routines
        }
        content["connections"] = [
            {"from": f"{link.source_id}.{link.event}", "to": f"{link.target_id}.{link.slot}"}
            | ({"map": dict(link.param_mapping)} if link.param_mapping else {})
            for link in flow.connections
        ]
        content["outputs"] = [
            {"event": f"{output.routine_id}.{output.event}"}
            | ({} if output.capacity is None else {"capacity": output.capacity})
            for output in flow.outputs
        ]
        return {word: part for word, part in content.items() if part or word in {"format", "flow"}}

    def _routine(self, flow: FlowGraph, routine_id: str, path: str) -> dict[str, Any]:
        made = flow.routines[routine_id]
        try:
            told = self._function(made, path) if isinstance(made, FunctionRoutine) else self._object(made, path)
        except RefusedPartError as error:
            raise FlowFileError("", path, f"it is {error}") from error
        config = made.get_config()
        if config:
            told["config"] = _plain(config, f"{path}.config")
        options = flow.options[routine_id].changed()
        handler = options.pop("error_handler", None) or made.error_handler
        told.update(_plain(options, path))
        if handler is not None:
            told["error_handler"] = self._handler(handler, f"{path}.error_handler")
        return told

    def _function(self, made: FunctionRoutine, path: str) -> dict[str, Any]:
        name = self._naming.name_of_function(made.function)  # type: ignore[arg-type]  # checked there
        found = self._naming.find_named(name)
        named = found.again() if isinstance(found, FunctionRoutine) else routine(found)
        self._check_same(made, named, path)
        return {"use": name}

    def _object(self, made: Routine, path: str) -> dict[str, Any]:
        cls = type(made)
        name = self._naming.name_of_class(cls)
        arguments = made.arguments_by_name()
        if arguments is None:
            raise FlowFileError("", path, f"a {cls.__qualname__} was not made with arguments that have names")
        told = _plain(arguments, f"{path}.with")
        try:
            again = cls(**convert_arguments(cls, told, "with"))
        except Exception as error:
            what = f"a {cls.__qualname__} made with {told!r} again raises {type_name(type(error))}"
            raise FlowFileError("", path, what) from error
        self._check_same(made, again, path)
        return {"use": name, "with": told} if told else {"use": name}

    def _check_same(self, made: Routine, again: Routine, path: str) -> None:
        own = {"config", "error_handler"}
        try:
            one, other = (
                {name: part for name, part in write_plain(each, path, self._naming).items() if name not in own}
                for each in (made, again)
            )
        except ValueEncodingError as error:
            raise FlowFileError("", path, str(error)) from error
        differs = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        if differs:
            raise FlowFileError(
                "",
                path,
                f"its {', '.join(differs)} changed after it was made, which a file cannot tell; give it to the class "
                f"as an argument, or as config, or use flow.serialize()",
            )

    def _handler(self, handler: ErrorHandler, path: str) -> dict[str, Any]:
        told = {name: part for name, part in vars(handler).items() if part != vars(_STOP)[name]}
        told["strategy"] = handler.strategy.value
        if "then" in told:
            told["then"] = handler.then.value
        if "retryable_exceptions" in told:
            try:
                names = [self._naming.name_of_class(cls) for cls in handler.retryable_exceptions]
            except RefusedPartError as error:
                raise FlowFileError("", f"{path}.retryable_exceptions", f"it is {error}") from error
            told["retryable_exceptions"] = names
        return dict(sorted(told.items(), key=lambda item: item[0] != "strategy"))


_STOP = ErrorHandler()


def _plain(value: Any, path: str) -> Any:
    """Give a value that every kind of file has.

    Raises:
        FlowFileError: none has it.
    """
    if type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, PurePath):
        return str(value)
    if type(value) in {list, tuple}:
        return [_plain(part, f"{path}[{index}]") for index, part in enumerate(value)]
    if type(value) is dict and all(type(key) is str for key in value):
        # TOML has no nothing: what is None is left out, and is what its class has by itself.
        return {key: _plain(part, f"{path}.{key}") for key, part in value.items() if part is not None}
    raise FlowFileError(
        "", path, f"a {type_name(type(value))} cannot be told in a file; flow.serialize() has all values"
    )
