"""Classes have names and versions; what an old version wrote becomes an object of today, or an error that tells why."""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import msgspec
import pytest

import routilux
from routilux.serial.carried import Carried
from routilux.serial.errors import (
    FieldsChangedError,
    KindChangedError,
    MigrationError,
    MissingMemberError,
    MissingMigrationError,
    NewerTypeError,
    RegistrationError,
    UnknownTypeError,
    ValueReadingError,
)
from routilux.serial.registry import Registry, default
from routilux.serial.shape import TypeShape
from supervisors.errors import ValueDecodingError
from tests.serial.shop import SHOP, Item, Rights

# ---- registering


class Order:
    def __init__(self, lines: Any) -> None:
        self.lines = lines


def test_a_class_is_registered_under_its_module_and_name_or_a_name_of_its_own() -> None:
    registry = Registry()
    assert registry.register(Order) is Order
    assert registry.register("shop.Item", version=3, migrations={2: dict})(Item) is Item
    assert registry.shapes() == {
        "tests.serial.test_registry.Order": TypeShape(1, []),
        "shop.Item": TypeShape(3, ["sku", "tags", "total"]),
    }
    assert registry.register(version=2)(Order) is Order
    assert registry.shapes()["tests.serial.test_registry.Order"].version == 2


def test_the_shapes_of_all_kinds_of_classes_are_told() -> None:
    shapes = {name: shape.fields for name, shape in SHOP.shapes().items()}
    assert shapes["shop.Slotted"] == ["_Slotted__hidden", "content"]
    assert shapes["shop.Point"] == ["x", "y"]
    assert shapes["shop.Parcel"] == ["weight", "content"]
    assert shapes["shop.Pair"] == ["left", "right"]
    assert shapes["shop.Rights"] == list(Rights.__members__)
    assert shapes["shop.Plain"] == []


def test_the_package_registers_in_the_default_registry() -> None:
    assert routilux.register.__self__ is default  # type: ignore[attr-defined]


class Abstract(abc.ABC):
    @abc.abstractmethod
    def do(self) -> None: ...


class Members(enum.Enum):
    """None yet."""


class Numbers(list[int]):
    pass


class Call(functools.partial[int]):
    pass


class Failing(Exception):
    pass


def local_class() -> type:
    class Local:
        pass

    return Local


@pytest.mark.parametrize(
    ("register", "says"),
    [
        (lambda registry: registry.register(1), "the name of a class is printable text"),
        (lambda registry: registry.register(""), "the name of a class is printable text"),
        (lambda registry: registry.register("a\nb"), "the name of a class is printable text"),
        (lambda registry: registry.register("a")(lambda: 1), "a class is registered, and no function"),
        (lambda registry: registry.register("a", version=0), "a version is a whole number from 1, and not 0"),
        (lambda registry: registry.register("a", version=True), "a version is a whole number"),
        (lambda registry: registry.register("a", version=2, migrations={2: dict}), "between 1 and 1, not from 2"),
        (
            lambda registry: registry.register("a", version=2, migrations={1: {}}),
            "from version 1 is a dict, no function",
        ),
        (lambda registry: registry.register(local_class()), "was made in a function"),
        (lambda registry: registry.register(Abstract), "is abstract"),
        (lambda registry: registry.register(Members), "has no members"),
        (lambda registry: registry.register(Numbers), "is a kind of list"),
        (lambda registry: registry.register(Call), "is a kind of partial"),
        (lambda registry: registry.register(Failing), "is a kind of Exception"),
        (lambda registry: registry.register(int), "is a kind of int"),
        (lambda registry: registry.register(type("Meta", (type,), {})), "is a kind of type"),
    ],
    ids=range(16),
)
def test_what_cannot_be_registered_is_refused_at_once(register: Callable[[Registry], Any], says: str) -> None:
    registry = Registry()
    with pytest.raises(RegistrationError, match=says):
        register(registry)
    assert registry.shapes() == {}


def test_a_name_belongs_to_one_class_and_a_class_has_one_name() -> None:
    registry = Registry()
    registry.register("shop.Order")(Order)
    with pytest.raises(RegistrationError, match=r"'shop.Order' is tests.serial.test_registry.Order already: give"):
        registry.register("shop.Order")(Item)
    with pytest.raises(RegistrationError, match=r"is registered as 'shop.Order' already"):
        registry.register("shop.Other")(Order)
    registry.register("shop.Local")(local_class())


def test_a_class_of_a_module_that_is_loaded_again_takes_its_own_place() -> None:
    registry = Registry()
    old = type("Order", (), {"__module__": "shop", "__qualname__": "Order"})
    new = type("Order", (), {"__module__": "shop", "__qualname__": "Order"})
    for cls in (old, new):
        registry.register(cls)
    carried = Carried(registry)
    assert type(carried.decode(carried.encode(new()))) is new
    assert list(registry.by_class) == [new]


@pytest.mark.processes
def test_a_class_of_a_script_is_called_as_if_its_file_were_imported(tmp_path: Path) -> None:
    script = tmp_path / "flow_of_mine.py"
    script.write_text(
        "import routilux\n"
        "@routilux.register\nclass Order: pass\n"
        "from routilux.serial.registry import default\nprint(*default.shapes())\n",
        encoding="utf-8",
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(routilux.__file__).parents[1]}"}
    for arguments in ([str(script)], ["-m", "flow_of_mine"], ["-c", "import flow_of_mine"]):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.stderr) == ("flow_of_mine.Order\n", "")


# ---- versions


def stored(cls: type, value: Any, version: int = 1) -> bytes:
    """Give what a program wrote in which `cls` was version `version` of shop.T."""
    registry = Registry()
    registry.register("shop.T", version=version)(cls)
    return Carried(registry).encode(value)


def reader(cls: type, version: int = 1, migrations: Any = None) -> Carried:
    registry = Registry()
    registry.register("shop.T", version=version, migrations=migrations)(cls)
    return Carried(registry)


@dataclasses.dataclass
class DataV1:
    name: Any
    price: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class DataV3:
    title: Any
    price: Any
    currency: Any


class StructV1(msgspec.Struct):
    name: Any
    price: Any = 0


class StructV3(msgspec.Struct, frozen=True):
    title: Any
    price: Any
    currency: Any


@attrs.define
class AttrsV1:
    name: Any
    price: Any = 0


@attrs.frozen
class AttrsV3:
    title: Any
    price: Any
    currency: Any


class TupleV1(NamedTuple):
    name: Any
    price: Any = 0


class TupleV3(NamedTuple):
    title: Any
    price: Any
    currency: Any


def rename(fields: dict[str, Any]) -> dict[str, Any]:
    fields["title"] = fields.pop("name")
    return fields


def add_currency(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "currency": "EUR"}


PAIRS = [(DataV1, DataV3), (StructV1, StructV3), (AttrsV1, AttrsV3), (TupleV1, TupleV3), (DataV1, StructV3)]
MIGRATIONS = {1: rename, 2: add_currency}


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_migrations_lead_from_the_version_that_was_written_to_the_present_one(old: Any, new: Any) -> None:
    carried = reader(new, 3, MIGRATIONS)
    back = carried.decode(stored(old, [old("x", (1, 2)), old("y")]))
    assert back == [new("x", (1, 2), "EUR"), new("y", 0, "EUR")]
    assert carried.decode(carried.encode(back)) == back


@pytest.mark.parametrize(("old", "new"), [(DataV1, TupleV3), (TupleV1, DataV3)])
def test_no_migration_makes_a_namedtuple_of_what_was_none(old: Any, new: Any) -> None:
    with pytest.raises(KindChangedError, match="register the present class under another name"):
        reader(new, 3, MIGRATIONS).decode(stored(old, old("x")))


def test_a_field_that_has_a_default_in_the_class_need_not_be_given() -> None:
    with_default = dataclasses.make_dataclass("WithDefault", [("name", Any), ("price", Any), ("vat", Any, 19)])
    assert reader(with_default, 2, {1: dict}).decode(stored(DataV1, DataV1("x", 1))).vat == 19


def test_a_plain_class_is_migrated_by_its_attributes() -> None:
    data = stored(Order, Order([1]))

    def count(fields: dict[str, Any]) -> dict[str, Any]:
        return {"count": len(fields["lines"]), "lines": None}

    assert vars(reader(Order, 2, {1: count}).decode(data)) == {"count": 1, "lines": None}


class ColourV1(enum.Enum):
    RED = 1
    BLUE = 2


class ColourV2(enum.Enum):
    CRIMSON = 1
    BLUE = 2
    GREEN = 3


def test_a_member_of_an_enumeration_is_migrated_by_its_name() -> None:
    data = stored(ColourV1, (ColourV1.RED,))
    with pytest.raises(MissingMemberError, match=r"has no member 'RED' any more: register it with version=2"):
        reader(ColourV2).decode(data)
    migrated = reader(ColourV2, 2, {1: lambda _: {"name": "CRIMSON"}})
    assert migrated.decode(data) == (ColourV2.CRIMSON,)
    assert reader(ColourV2).decode(stored(ColourV1, ColourV1.BLUE)) is ColourV2.BLUE
    with pytest.raises(MigrationError, match=r"'shop.T' from version 1 to 2 gave no 'name'"):
        reader(ColourV2, 2, {1: lambda _: {}}).decode(data)


def raising(fields: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("naem")


def leaving(fields: dict[str, Any]) -> dict[str, Any]:
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("cls", "version", "migrations", "error", "says"),
    [
        (
            StructV3,
            1,
            {},
            FieldsChangedError,
            "no more 'name'; new are 'currency', 'title'): register it with version=2",
        ),
        (
            DataV3,
            3,
            {2: add_currency},
            MissingMigrationError,
            "leads from 1 to 2: register(..., migrations={1: function})",
        ),
        (DataV3, 3, {1: rename}, MissingMigrationError, "leads from 2 to 3"),
        (DataV3, 3, {1: raising, 2: dict}, MigrationError, "of 'shop.T' from version 1 to 2 raised KeyError: 'naem'"),
        (DataV3, 3, {1: leaving, 2: dict}, MigrationError, "raised SystemExit: 1"),
        (DataV3, 3, {1: rename, 2: list}, MigrationError, "from version 2 to 3 gave a list that is no dict"),
        (DataV3, 3, {1: rename, 2: lambda _: {1: 2}}, MigrationError, "gave a dict that is no dict of fields"),
        (DataV3, 3, {1: rename, 2: lambda fields: fields}, MigrationError, "from version 2 to 3 gave no 'currency'"),
        (DataV3, 2, {1: lambda fields: {**fields, "x": 1}}, MigrationError, "gave 'name', which is no field of it"),
        (DataV1, 2, {1: rename}, MigrationError, "gave no 'name'"),
        (TupleV3, 2, {1: lambda _: {}}, ValueReadingError, "gave no 'title'"),
    ],
    ids=range(11),
)
def test_what_no_longer_fits_is_an_error_that_says_what_to_do(
    cls: type, version: int, migrations: Any, error: type[Exception], says: str
) -> None:
    old: Any = {DataV3: DataV1, DataV1: DataV1, StructV3: StructV1, TupleV3: TupleV1}[cls]
    with pytest.raises(error) as caught:
        reader(cls, version, migrations).decode(stored(old, old("x")))
    assert says in str(caught.value)
    assert isinstance(caught.value, ValueDecodingError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), vars(copy)) == (type(caught.value), str(caught.value), vars(caught.value))


def test_a_newer_version_and_an_unknown_name_are_told() -> None:
    with pytest.raises(NewerTypeError, match=r"version 2 of 'shop.T' is to be read, and version 1 is registered"):
        reader(Order).decode(stored(Order, Order(1), version=2))
    registry = Registry()
    registry.register("shop.t")(Order)
    with pytest.raises(UnknownTypeError, match=r"no class is registered as 'shop.T' .*did you mean 'shop.t'\?"):
        Carried(registry).decode(stored(Order, Order(1)))


def test_a_class_that_was_renamed_is_read_under_its_registered_name() -> None:
    class Renamed(Order):
        pass

    back = reader(Renamed).decode(stored(Order, Order((1,))))
    assert (type(back), back.lines) == (Renamed, (1,))


def test_nothing_is_run_when_a_module_of_classes_is_loaded_twice() -> None:
    first = runpy.run_path(str(Path(__file__).with_name("shop.py")), run_name="tests.records.shop_again")
    assert first["SHOP"].shapes() == SHOP.shapes()
