"""Binding: tables of the rules, and a naive model that decides call by call."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import HandlerError, SlotArgumentError
from routilux.model.binding import compile_binding
from routilux.turn.uniting import rename


def call(handler: Callable[..., Any], data: dict[str, Any]) -> Any:
    binding = compile_binding(handler, "slot 'in'")
    args, kwargs = binding.bind(data)
    result = handler(*args, **kwargs)
    names = binding.positions
    if names is not None and data.keys() >= set(names):  # else `bind` knows what is to be done
        assert handler(*(data[name] for name in names)) == result, "the short cut leads elsewhere"
    return result


class Owner:
    def method(self, a: Any, b: Any = 2) -> Any:
        return a, b

    def __call__(self, a: Any, b: Any) -> Any:
        return a, b

    @staticmethod
    def static(a: Any, b: Any) -> Any:
        return a, b

    @classmethod
    def of_class(cls, a: Any, b: Any) -> Any:
        return a, b


def nothing() -> Any:
    return "called"


def everything(**rest: Any) -> Any:
    return rest


def some_and_rest(a: Any, b: Any = 2, **rest: Any) -> Any:
    return a, b, rest


def whole(data: Any) -> Any:
    return data


def whole_by_name(*, data: Any) -> Any:
    return data


def data_and_more(data: Any, more: Any) -> Any:
    return data, more


def one(text: Any) -> Any:
    return text


def one_by_name(*, text: Any) -> Any:
    return text


def one_with_default(text: Any = "default") -> Any:
    return text


def by_name(a: Any, b: Any, c: Any = 3, *, d: Any, e: Any = 5) -> Any:
    return a, b, c, d, e


def by_position(a: Any, b: Any = 2, c: Any = 3, /, d: Any = 4) -> Any:
    return a, b, c, d


def position_and_rest(a: Any, /, **rest: Any) -> Any:
    return a, rest


TABLE: list[tuple[Callable[..., Any], dict[str, Any], Any]] = [
    (nothing, {}, "called"),
    (nothing, {"a": 1}, "called"),
    (everything, {}, {}),
    (everything, {"a": 1, "data": 2}, {"a": 1, "data": 2}),
    (some_and_rest, {"a": 1}, (1, 2, {})),
    (some_and_rest, {"x": 9, "b": 5, "a": 1}, (1, 5, {"x": 9})),
    (whole, {"a": 1}, {"a": 1}),
    (whole, {"data": 1}, {"data": 1}),
    (whole, {}, {}),
    (whole_by_name, {"a": 1}, {"a": 1}),
    (data_and_more, {"data": 1, "more": 2}, (1, 2)),
    (one, {"text": 1}, 1),
    (one, {"text": None, "other": 2}, None),
    (one, {"other": 2}, {"other": 2}),
    (one, {}, {}),
    (one_by_name, {"text": 1}, 1),
    (one_by_name, {"other": 1}, {"other": 1}),
    (one_with_default, {}, "default"),
    (one_with_default, {"text": 1}, 1),
    (one_with_default, {"other": 1}, {"other": 1}),
    (by_name, {"d": 4, "b": 2, "a": 1, "unasked": 0}, (1, 2, 3, 4, 5)),
    (by_name, {"a": 1, "b": 2, "c": None, "d": 4, "e": 6}, (1, 2, None, 4, 6)),
    (by_position, {"a": 1}, (1, 2, 3, 4)),
    (by_position, {"a": 1, "c": 9}, (1, 2, 9, 4)),
    (by_position, {"d": 7, "b": 5, "a": 1}, (1, 5, 3, 7)),
    (position_and_rest, {"a": 1, "b": 2}, (1, {"b": 2})),
    (lambda a, b: (a, b), {"a": 1, "b": 2}, (1, 2)),
    (Owner().method, {"a": 1, "self": 9}, (1, 2)),
    (Owner(), {"a": 1, "b": 2}, (1, 2)),
    (Owner.static, {"a": 1, "b": 2}, (1, 2)),
    (Owner.of_class, {"a": 1, "b": 2}, (1, 2)),
    (functools.partial(by_name, 1), {"b": 2, "d": 4, "a": 9}, (1, 2, 3, 4, 5)),
    (functools.partial(by_name, d=4), {"a": 1, "b": 2, "d": 9}, (1, 2, 3, 4, 5)),
    (functools.partial(Owner().method, b=7), {"x": 1}, ({"x": 1}, 7)),
]


@pytest.mark.parametrize(("handler", "data", "expected"), TABLE)
def test_a_handler_gets_what_the_rules_say(handler: Callable[..., Any], data: dict[str, Any], expected: Any) -> None:
    before = dict(data)
    assert call(handler, data) == expected
    assert data == before


def test_the_whole_dict_is_handed_over_without_copying() -> None:
    data = {"a": 1}
    assert call(whole, data) is data
    assert call(one, data) is data


def test_changing_what_kwargs_got_leaves_the_data_alone() -> None:
    data = {"a": 1}
    call(everything, data)["b"] = 2
    assert data == {"a": 1}


@pytest.mark.parametrize("handler", [by_name, some_and_rest, by_position, position_and_rest])
def test_a_required_parameter_that_is_missing_is_named_with_what_came(handler: Callable[..., Any]) -> None:
    with pytest.raises(SlotArgumentError) as caught:
        call(handler, {"A": 0, "d": 4, "b": 2})
    error = caught.value
    assert error.missing == ("a",)
    assert error.got == ("A", "d", "b")
    assert str(error) == "the handler expected 'a', got 'A', 'd', 'b'; did you mean 'A'?"


def test_all_missing_parameters_are_told_and_nothing_that_is_there() -> None:
    with pytest.raises(SlotArgumentError) as caught:
        call(by_name, {})
    assert caught.value.missing == ("a", "b", "d")
    assert caught.value.expected == ("a", "b", "c", "d", "e")
    assert str(caught.value) == "the handler expected 'a', 'b', 'd', got no parameters"


def takes_args(*values: Any) -> None: ...


async def coroutine(a: Any) -> None: ...


async def async_generator(a: Any) -> Any:
    yield a


class AsyncCall:
    async def __call__(self, a: Any) -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (takes_args, ["'*values'", "takes_args", "**kwargs"]),
        ("parse", ["something to call", "got str"]),
        (None, ["something to call", "got NoneType"]),
        (max, ["does not show which parameters it takes", "max", "wrap it in a function"]),
    ],
)
def test_a_handler_that_cannot_be_called_with_data_is_refused(handler: Any, words: list[str]) -> None:
    with pytest.raises(HandlerError) as caught:
        compile_binding(handler, "slot 'in' of Parse")
    for word in ["slot 'in' of Parse", *words]:
        assert word in str(caught.value)


def test_only_a_plain_function_without_defaults_has_a_short_cut() -> None:
    @functools.wraps(data_and_more)
    def by_names_alone(**kwargs: Any) -> Any:
        return data_and_more(**kwargs)

    for handler in (data_and_more, Owner.static, Owner.of_class, one, lambda a, b: (a, b)):
        assert compile_binding(handler, "").positions
    for other in (by_names_alone, Owner(), Owner().method, by_name, by_position, nothing, whole, everything):
        assert compile_binding(other, "").positions is None
    assert compile_binding(functools.partial(data_and_more, 1), "").positions is None


NAMES = st.sampled_from("abcd")


@given(st.lists(st.tuples(NAMES, NAMES), max_size=4), st.dictionaries(NAMES, st.integers(), max_size=4))
def test_the_short_cut_past_a_mapping_leads_where_the_mapping_does(
    pairs: list[tuple[str, str]], data: dict[str, int]
) -> None:
    mapping = tuple(dict(pairs).items())
    binding = compile_binding(lambda a, b: (a, b), "")
    names = binding.positions_renamed(mapping)
    if names is None:
        assert mapping
        return
    if not data.keys() >= set(names):
        return  # left to the long way
    args, kwargs = binding.bind(rename(data, mapping))
    assert [data[name] for name in names] == [*args, *kwargs.values()]


def test_a_mapping_by_which_a_parameter_has_one_source_has_a_short_cut() -> None:
    binding = compile_binding(lambda a, b: (a, b), "")
    assert binding.positions_renamed((("x", "a"),)) == ("x", "b")
    assert binding.positions_renamed((("a", "b"), ("b", "a"))) == ("b", "a")
    for mapping in [(("a", "b"),), (("x", "a"), ("y", "a"))]:
        assert binding.positions_renamed(mapping) is None
    assert compile_binding(everything, "").positions_renamed((("x", "a"),)) is None


def test_what_a_binding_takes_can_be_asked_without_calling() -> None:
    assert compile_binding(by_name, "").lacks(frozenset({"a", "e"})) == ("b", "d")
    assert compile_binding(some_and_rest, "").lacks(frozenset()) == ("a",)
    for handler in (nothing, everything, whole, one, one_with_default):
        assert compile_binding(handler, "").lacks(frozenset()) == ()
    takes_any = {
        handler: compile_binding(handler, "").takes_any for handler in (by_name, nothing, everything, whole, one)
    }
    assert takes_any == {by_name: False, nothing: False, everything: True, whole: True, one: True}


# ---- against a naive model

NAMES = ("a", "b", "c", "data", "text")
KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


@st.composite
def handlers(draw: st.DrawFn) -> Callable[..., Any]:
    """A function of any signature that tells by name what it was called with."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), min_size=len(names), max_size=len(names))))
    text, has_default = [], False
    for index, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        if kind is KINDS[2] and (index == 0 or kinds[index - 1] is not KINDS[2]):
            text.append("*")
            has_default = False
        has_default = draw(st.booleans()) or (has_default and kind is not KINDS[2])
        text.append(f"{name}='default {name}'" if has_default else name)
        if kind is KINDS[0] and (index + 1 == len(kinds) or kinds[index + 1] is not KINDS[0]):
            text.append("/")
    if draw(st.booleans()):
        text.append("**rest")
    namespace: dict[str, Any] = {}
    exec(f"def handler({', '.join(text)}): return locals()", namespace)
    function: Callable[..., Any] = namespace["handler"]
    return function


def expected_locals(handler: Callable[..., Any], data: dict[str, Any]) -> dict[str, Any] | set[str]:
    """What the handler must see, or the names it misses; slowly, parameter by parameter."""
    parameters = list(inspect.signature(handler).parameters.values())
    named = [parameter for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    takes_rest = len(named) != len(parameters)
    if len(named) == 1 and not takes_rest:
        (only,) = named
        if only.name == "data":
            return {"data": data}
        if only.name not in data and (data or only.default is inspect.Parameter.empty):
            return {only.name: data}
    missing = {p.name for p in named if p.default is inspect.Parameter.empty and p.name not in data}
    if missing:
        return missing
    seen = {parameter.name: data.get(parameter.name, parameter.default) for parameter in named}
    if takes_rest:
        seen["rest"] = {name: value for name, value in data.items() if name not in seen}
    return seen


@given(handlers(), st.dictionaries(st.sampled_from((*NAMES, "other")), st.integers()))
def test_any_handler_sees_what_the_naive_model_says(handler: Callable[..., Any], data: dict[str, Any]) -> None:
    expected = expected_locals(handler, data)
    if isinstance(expected, set):
        with pytest.raises(SlotArgumentError) as caught:
            call(handler, data)
        assert set(caught.value.missing) == expected
    else:
        assert call(handler, data) == expected


def takes_coroutine(a: Any) -> Any:
    return coroutine(a)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (coroutine, True),
        (async_generator, True),
        (AsyncCall(), True),
        (functools.partial(coroutine, a=1), True),
        (functools.partial(AsyncCall(), a=1), True),
        (by_name, False),
        (takes_coroutine, False),
    ],
)
def test_an_async_handler_is_known_by_its_definition(handler: Any, expected: bool) -> None:
    assert compile_binding(handler, "slot 'in' of Parse").is_async is expected


@pytest.mark.parametrize(
    ("handler", "data"),
    [
        (lambda: None, {}),
        (lambda data: data, {"a": 1}),
        (lambda a: a, {"a": 1}),
        (lambda *, a: a, {"a": 1}),
        (lambda a=0: a, {}),
        (lambda a, b: (a, b), {"a": 1, "b": 2}),
        (lambda a, /, b=3, **rest: (a, b, rest), {"a": 1, "c": 2}),
    ],
)
def test_a_binding_travels_without_code_and_takes_data_as_before(
    handler: Callable[..., Any], data: dict[str, Any]
) -> None:
    binding = compile_binding(handler, "slot 'in'")
    arrived = pickle.loads(pickle.dumps(binding))  # which carries no function of a function
    assert type(arrived) is type(binding)
    assert (arrived.parameters, arrived.required, arrived.takes_any) == (
        binding.parameters,
        binding.required,
        binding.takes_any,
    )
    assert arrived.bind(data) == binding.bind(data)
    assert arrived.positions == binding.positions
