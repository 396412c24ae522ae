"""What is written as plain data is read again as it was, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.serial.errors import (
    FieldsChangedError,
    ForbiddenModuleError,
    MissingMigrationError,
    MissingNameError,
    NewerTypeError,
    PlainDataError,
    UnknownTypeError,
    ValueReadingError,
)
from routilux.serial.naming import Naming
from routilux.serial.plain_reader import Unread, read_plain
from routilux.serial.plain_writer import Apart, AsItIs, write_plain
from routilux.serial.registry import Registry
from supervisors.errors import ValueDecodingError, ValueEncodingError
from tests.serial import shop
from tests.serial.graphs import assert_same
from tests.serial.samples import VALUES, cycles, graphs
from tests.serial.shop import SHOP, Colour, Frozen, Item, Plain, Unknown

HERE = __name__


def write(value: Any) -> Any:
    return write_plain(value, "value", Naming(SHOP))


def read(data: Any, allow_modules: tuple[str, ...] = (), registry: Registry = SHOP) -> Any:
    return read_plain(data, "value", Naming(registry, allow_modules))


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


def through_messagepack(data: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))


@pytest.mark.parametrize("through", [through_json, through_messagepack])
@pytest.mark.parametrize("at", range(len(VALUES)))
def test_a_value_comes_back_as_it_was(at: int, through: Callable[[Any], Any]) -> None:
    value, _ = VALUES[at]
    data = write(value)
    shop.RUN.clear()
    assert_same(read(through(data)), value)
    assert shop.RUN == []


@pytest.mark.parametrize("at", range(len(cycles())))
def test_shared_references_and_cycles_come_back(at: int) -> None:
    value = cycles()[at]
    assert_same(read(through_json(write([value, value]))), [value, value])


@given(graphs())
def test_any_graph_comes_back_as_it_was(value: Any) -> None:
    data = write(value)
    assert_same(read(through_json(data)), value)
    assert_same(read(through_messagepack(data)), value)


def test_plain_data_is_itself_and_what_looks_like_a_word_of_the_form_is_not_taken_for_one() -> None:
    plain = {"a": [1, 2.5, None, True, "x"], "b": {"c": []}}
    assert write(plain) == plain
    tricky = {"$ref": 1, "x": {"$type": "shop.Item"}, "$": {}}
    assert write(tricky) == {"$dict": [["$ref", 1], ["x", {"$dict": [["$type", "shop.Item"]]}], ["$", {}]]}
    assert read(write(tricky)) == tricky


def test_an_object_is_its_fields_beside_its_type() -> None:
    assert write(Item("x", [Frozen(x=1)])) == {
        "$type": "shop.Item",
        "sku": "x",
        "tags": [{"$type": "shop.Frozen", "x": 1, "y": 1}],
        "$unset": ["total"],
    }
    item = Item("x")
    item.note = 1  # type: ignore[attr-defined]
    item.total = 2
    assert write(item) == {"$type": "shop.Item", "$beside": ["note"], "sku": "x", "tags": [], "total": 2, "note": 1}


def function(x: Any) -> Any:
    return x


class Holder:
    def method(self) -> Any:
        return self

    @staticmethod
    def static() -> None: ...


def test_functions_and_methods_are_found_again_by_their_names() -> None:
    registry = Registry()
    registry.register("t.Holder")(Holder)
    holder = Holder()
    data = write_plain([holder, holder.method, function, Holder.static], "value", Naming(registry))
    back = read(data, (HERE,), registry)
    assert back[1].__self__ is back[0]
    assert (back[1].__func__, back[2], back[3]) == (Holder.method, function, Holder.static)
    registry.register_function("t.function", function)
    assert write_plain(function, "value", Naming(registry)) == {"$function": "t.function"}
    assert read({"$function": "t.function"}, (), registry) is function


@pytest.mark.parametrize(
    ("value", "path", "says"),
    [
        (
            {"a": [1, lambda: 1]},
            "value['a'][1]",
            "the function .*<lambda>, which has no name by which it could be found",
        ),
        (partial(function, 1), "value", "a functools.partial, which is not registered"),
        (
            [Unknown()],
            "value[0]",
            "a tests.serial.shop.Unknown, which is not registered: derive it from Serializable, or",
        ),
        (Plain({"x": {1: object()}}), "value.content['x'][1]", "a object, which cannot be plain data"),
        ({(1, object()): 2}, "value.keys()[0][1]", "a object"),
        ([].append, "value", "the method 'append' of a list"),
        (defaultdict(lambda: 1), "value", "a defaultdict whose values are made by a function"),
        (sys, "value", "a module, which cannot be plain data"),
    ],
)
def test_what_could_not_be_read_again_is_refused_with_its_path(value: Any, path: str, says: str) -> None:
    with pytest.raises(ValueEncodingError, match=says) as raised:
        write(value)
    assert raised.value.path == path


def test_a_key_may_hold_what_it_is_a_key_of() -> None:
    inner: list[Any] = []
    key = Frozen(x=Hashed(inner))
    inner += [{key: 1}, {(key, "pair")}, frozenset({key})]
    registry = Registry()
    for cls in (Frozen, Hashed):
        registry.register(f"t.{cls.__name__}")(cls)
    back = read(through_json(write_plain(key, "value", Naming(registry))), (), registry)
    assert back.x.content == [{back: 1}, {(back, "pair")}, frozenset({back})]


@dataclasses.dataclass(eq=False)
class Hashed:
    content: Any


def test_a_set_waits_for_the_fields_that_its_hashes_need() -> None:
    registry = Registry()
    registry.register("t.Named")(Named)
    named = Named("x")
    named.friends.add(named)
    back = read(through_json(write_plain(named, "value", Naming(registry))), (), registry)
    assert back.friends == {back}
    assert (back.name, hash(back)) == ("x", hash(named))


@dataclasses.dataclass
class Named:
    name: str
    friends: set[Any] = dataclasses.field(default_factory=set)

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name == self.name


def test_what_is_nested_too_deeply_is_refused_on_both_ways() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueEncodingError, match="nested too deeply"):
        write(deep)
    with pytest.raises(PlainDataError, match="nested too deeply"):
        read(deep)


BAD: list[tuple[Any, str]] = [
    ({"$ref": 1}, "value"),
    ({"$tuple": [{"$ref": 1}]}, "refers to 1"),
    ({"$ref": "x"}, "expected the id"),
    ({"$list": 1}, "expected a list"),
    ({"$dict": [[1]]}, "pairs of a key and a value"),
    ({"$dict": [[[], 1]]}, "cannot be made again"),
    ({"$nothing": 1}, "nothing that is called '\\$nothing'"),
    ({"$tuple": [], "$list": []}, "expected one word"),
    ({"a": 1, "$tuple": []}, "expected one word"),
    ([{"$id": 1, "$list": []}, {"$id": 1, "$list": []}], "an id of its own"),
    ({"$id": None, "$type": "shop.Item", "sku": 1, "tags": [], "total": {"$ref": None}}, "expected the id"),
    ({"$int": "zz"}, "cannot be made again"),
    ({"$float": "1.5"}, "expected one of"),
    ({"$bytes": "!"}, "expected base64"),
    ({"$decimal": ["x"]}, "cannot be made again"),
    ({"$decimal": [{"$decimal": ["1"]}]}, "only scalars"),
    ({"$datetime": [2026, 1]}, "cannot be made again"),
    ({"$deque": [3]}, "with items, or without"),
    ({"$tuple": [], "$items": []}, "expected no items"),
    ({"$type": 1}, "expected a name"),
    ({"$type": "shop.Item", "$version": "x"}, "a version from 1"),
    ({"$type": "shop.Item", "$odd": 1}, "names of fields"),
    ({"$type": "shop.Colour", "name": 1}, "cannot be made again"),
    ({"$method": [[], "append"]}, "no method 'append'"),
    ({"$method": [{"$type": "shop.Plain", "content": 1}, "__init__"]}, "no method '__init__'"),
    ({"$method": [{"$class": "ValueError"}, "with_traceback"]}, "no method"),
    ({1: 2}, "nothing that is called 1"),
    ((1, 2), "expected plain data, got a tuple"),
    (b"x", "expected plain data, got a bytes"),
]


@pytest.mark.parametrize("at", range(len(BAD)))
def test_data_that_nobody_wrote_is_refused_with_its_place(at: int) -> None:
    data, says = BAD[at]
    with pytest.raises(PlainDataError, match=says) as raised:
        read({"here": [data]})
    assert raised.value.path.startswith("value['here'][0]") or "value['here']" in str(raised.value)


json_data = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["shop.Item", "name", "x", "RED"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "$id",
                    "$ref",
                    "$type",
                    "$version",
                    "$list",
                    "$dict",
                    "$set",
                    "$tuple",
                    "$frozenset",
                    "$method",
                    "$deque",
                    "$items",
                    "$class",
                    "$function",
                    "$datetime",
                    "$defaultdict",
                    "$counter",
                    "$apart",
                    "sku",
                    "name",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_data)
def test_any_data_is_a_value_or_an_error_by_name(data: Any) -> None:
    try:
        read(data)
    except ValueReadingError:
        return


def test_a_name_of_a_module_leads_nowhere_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("trap:f", "os:system", "builtins:eval", "subprocess:Popen"):
        for word in ("$function", "$type", "$class"):
            with pytest.raises(ForbiddenModuleError, match="its module is not allowed"):
                read({word: name})
    assert "trap" not in sys.modules


def test_allowing_a_module_allows_what_it_defines_and_nothing_that_it_imported() -> None:
    assert read({"$function": f"{HERE}:function"}, ("tests",)) is function
    assert read({"$class": f"{HERE}:Holder"}, (HERE,)) is Holder
    for name in ("Path.cwd", "write_plain", "nothing", "function.__globals__", "__builtins__", "HERE"):
        with pytest.raises(MissingNameError):
            read({"$function": f"{HERE}:{name}"}, (HERE,))
    with pytest.raises(MissingNameError, match="no class that is Serializable"):
        read({"$type": f"{HERE}:Holder"}, (HERE,))
    with pytest.raises(ForbiddenModuleError):
        read({"$function": f"{HERE}x:function"}, (HERE,))


def test_versions_are_migrated_and_what_does_not_fit_is_told() -> None:
    new = Registry()
    new.register("shop.Item", version=3, migrations={2: lambda fields: {**fields, "total": 7}})(Item)
    fields = {"$type": "shop.Item", "sku": "x", "tags": []}
    assert read({**fields, "$version": 2}, (), new).total == 7
    with pytest.raises(MissingMigrationError):
        read(fields, (), new)
    with pytest.raises(NewerTypeError):
        read({**fields, "$version": 4}, (), new)
    with pytest.raises(UnknownTypeError):
        read({"$type": "shop.Itme"}, (), new)
    with pytest.raises(FieldsChangedError):
        read({"$type": "shop.Frozen", "x": 1})


def test_a_value_apart_is_lost_alone() -> None:
    data = write({"good": Apart([Decimal(1)]), "bad": Apart(Item("x")), "plain": AsItIs({"$odd": (1,)}["$odd"])})
    back = read(through_json(data), (), Registry())
    assert isinstance(back["good"], Unread)
    assert back["good"].read() == [Decimal(1)]
    with pytest.raises(UnknownTypeError):
        back["bad"].read()
    assert back["plain"] == [1]


def test_a_value_apart_may_be_a_pickle_where_both_sides_allow_it() -> None:
    with pytest.raises(ValueEncodingError):
        write(Apart(Unknown()))
    data = through_json(write(Apart(Unknown(), allow_pickle=True)))
    with pytest.raises(ValueDecodingError, match="allow_pickle"):
        read(data).read()
    assert isinstance(read(data).read(allow_pickle=True), Unknown)


def test_a_class_is_named_and_modules_are_no_values() -> None:
    assert write([ValueError, int, Colour]) == [{"$class": "ValueError"}, {"$class": "int"}, {"$class": "shop.Colour"}]
    assert read(write([ValueError, int, Colour])) == [ValueError, int, Colour]
    with pytest.raises(ValueEncodingError):
        write([ModuleType("x")])


@pytest.mark.parametrize(
    "annotation",
    [list[int], dict[str, list[int]], int | None, tuple[int, ...], Iterable[Any], Colour | list[Colour], type[Colour]],
)
def test_an_annotation_comes_back(annotation: Any) -> None:
    assert read(through_json(write(annotation))) == annotation


@pytest.mark.parametrize(
    "data", [{"$annotation": []}, {"$annotation": [1, 2]}, {"$annotation": [{"$class": "int"}, 1]}]
)
def test_an_annotation_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(PlainDataError):
        read(data)
