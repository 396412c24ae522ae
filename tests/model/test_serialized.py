"""Flows and their parts are written as plain data, and read again as what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routilux import Connection, ErrorHandler, Event, Flow, Ray, Routine, Serializable, Slot, ValueEncodingError
from routilux.errors import OptionError, WiringError
from routilux.executions import ExecutionRecord
from routilux.serial.errors import ForbiddenModuleError, PlainDataError, RegistrationError
from routilux.serial.serializable import register_serializable
from supervisors.reasons import Crashed, Raised, record_error
from tests.model import parts
from tests.model.parts import Adder, Counting, Helper, Merger, Stateless, keep_newest, numbers, square
from tests.scripts import run_script

MODULES = [parts.__name__]


def again(obj: Any) -> Any:
    """Give what is read of what is written, by way of JSON, and hold MessagePack to the same."""
    data = obj.serialize()
    back = type(obj).deserialize(json.loads(json.dumps(data, allow_nan=False)), allow_modules=MODULES)
    assert back.serialize() == data
    assert type(obj).from_bytes(obj.to_bytes(), allow_modules=MODULES).serialize() == data
    return back


handlers = st.builds(
    ErrorHandler,
    st.sampled_from(["stop", "continue", "retry", "skip"]),
    st.integers(0, 5),
    st.floats(0.0, 5.0),
    retryable_exceptions=st.sampled_from([Exception, (ValueError, OSError), ()]),
    is_critical=st.booleans(),
    max_crashes=st.none() | st.integers(0, 3),
)
MAKERS = [
    Adder,
    lambda: Adder(7, {"deep": [(1, 2), {3}]}),
    Counting,
    Stateless,
    Merger,
    lambda: numbers,
    lambda: square,
]


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Draw flows of up to 50 routines, with cycles, mappings, and handlers that several routines share."""
    flow = Flow(draw(st.sampled_from(["a", "nightly.1"])))
    shared = draw(st.lists(handlers, min_size=1, max_size=3))
    for index in range(draw(st.integers(1, 50))):
        routine = draw(st.sampled_from(MAKERS))()
        options: dict[str, Any] = {}
        if draw(st.booleans()):
            options["error_handler"] = draw(st.sampled_from(shared))
        if draw(st.booleans()):
            options |= {"placement": "process", "workers": draw(st.integers(1, 3)), "timeout": 1.5}
        flow.add_routine(routine, f"r{index}", **options)
        if isinstance(routine, Adder) and draw(st.booleans()):
            routine.set_error_handler(draw(st.sampled_from(shared)))
            routine.set_config(level=draw(st.integers()), of=shared)
    ids = list(flow.routines)
    for _ in range(draw(st.integers(0, 60))):
        source, target = draw(st.sampled_from(ids)), draw(st.sampled_from(ids))
        event = draw(st.sampled_from(list(flow.routines[source].events)))
        slot = draw(st.sampled_from(list(flow.routines[target].slots)))
        takes_n = "n" in flow.routines[target].slots[slot].binding.parameters
        mapping = draw(st.sampled_from([None, {"n": "n"}])) if takes_n else None
        link = (source, event, target, slot)
        if link not in [(c.source_id, c.event, c.target_id, c.slot) for c in flow.connections]:
            flow.connect(*link, mapping)
    if draw(st.booleans()):
        flow.output(ids[0], next(iter(flow.routines[ids[0]].events)), draw(st.none() | st.integers(1, 9)))
        flow.set_error_handler(shared[0])
    return flow


@settings(max_examples=settings.default.max_examples // 2)  # flows of up to 50 routines
@given(flows())
def test_any_flow_comes_back_as_it_was(flow: Flow) -> None:
    back = again(flow)
    assert (back.flow_id, list(back.routines), back.connections) == (
        flow.flow_id,
        list(flow.routines),
        flow.connections,
    )
    assert back.outputs == flow.outputs
    for routine_id, routine in flow.routines.items():
        other = back.routines[routine_id]
        assert type(other) is type(routine)
        assert (list(other.slots), list(other.events.values())) == (list(routine.slots), list(routine.events.values()))
        for name, slot in routine.slots.items():
            assert other.slots[name].merge_strategy == slot.merge_strategy
            assert other.slots[name].at_end == slot.at_end
            assert other.slots[name].binding.parameters == slot.binding.parameters
            assert other.slots[name].binding.is_async == slot.binding.is_async
        assert other.initial_stats == routine.initial_stats
    pairs = [(flow.effective_error_handler(id_), back.effective_error_handler(id_)) for id_ in flow.routines]
    own = [pair for pair in pairs if pair[0] is not pair[1]]
    for one, other in own:
        assert vars(one) == vars(other)
    assert [a is b for a, _ in own for b, _ in own if a.strategy] == [a is b for _, a in own for _, b in own]


def test_a_flow_that_was_read_gives_the_same_result(tmp_path: Path) -> None:
    flow = Flow("sums")
    flow.add_routine(numbers, "numbers")
    flow.add_routine(Adder(), "adder", placement="process")
    flow.add_routine(square, "square", error_handler=ErrorHandler("continue"))
    flow.connect("numbers", "number", "adder", "fourth")
    flow.connect("adder", "sum", "square", "input")
    flow.output("square", "output")
    expected = flow.execute("numbers", {"n": 6}).results()
    assert [item["n"] for item in expected] == [0, 1, 9, 36, 100, 225]
    (tmp_path / "flow.json").write_text(json.dumps(flow.serialize()))
    script = f"""
        import json, sys
        from pathlib import Path
        from routilux import Flow
        assert {parts.__name__!r} not in sys.modules
        data = json.loads(Path("flow.json").read_text())
        flow = Flow.deserialize(data, allow_modules=[{parts.__name__!r}])
        print(json.dumps(flow.execute("numbers", {{"n": 6}}).results()))
    """
    assert json.loads(run_script(script, tmp_path)) == expected


def test_an_object_that_several_routines_have_is_one_again_also_in_a_circle() -> None:
    flow = Flow("f")
    helper = Helper()
    a, b = Adder(notes=helper), Adder(notes=[helper])
    helper.friend = a
    flow.add_routine(a, "a")
    flow.add_routine(b, "b")
    back = again(flow)
    found = back.routines["a"].notes
    assert back.routines["b"].notes[0] is found
    assert found.friend is back.routines["a"]
    assert not hasattr(found, "cache")
    assert found.serialize() == helper.serialize()


def test_the_parts_of_a_flow_come_back_by_themselves() -> None:
    event = again(Event("done", ["n", "text"]))
    assert event == Event("done", ["n", "text"])
    link = Connection("a", "done", "b", "input", {"n": "number"})
    assert again(link) == link
    handler = ErrorHandler("retry", 2, 0.5, retryable_exceptions=(ValueError, KeyError), then="skip")
    assert vars(again(handler)) == vars(handler)
    slot = again(Slot("input", keep_newest_handler, keep_newest))
    assert (slot.name, slot.handler, slot.merge_strategy) == ("input", keep_newest_handler, keep_newest)
    assert slot.binding.parameters == ("n",)
    adder = again(Adder(3, notes=(1,)))
    assert (adder.step, adder.notes) == (3, (1,))
    assert adder.slots["first"].handler.__self__ is adder


keep_newest_handler = parts.square.function


@pytest.mark.parametrize("reason", [None, Crashed(exit_code=None, signal=9), Raised(record_error(ValueError("x")))])
def test_an_execution_record_comes_back(reason: Any) -> None:
    record = ExecutionRecord("a", "error", 1.5, "ab" * 16, "x -> y", 2, detail="why", reason=reason)
    assert again(record) == record


def test_a_routine_that_could_not_be_made_again_is_refused_with_its_path() -> None:
    class Local(Routine):
        pass

    flow = Flow("f")
    flow.add_routine(Local(), "local")
    with pytest.raises(ValueEncodingError, match="which has no name by which it could be found again") as raised:
        flow.serialize()
    assert raised.value.path == "Flow.routines['local']"
    flow = Flow("f")
    flow.add_routine(Adder(notes={"lock": open}), "a")
    flow.routines["a"].notes["lock"] = iter(())  # type: ignore[attr-defined]
    with pytest.raises(ValueEncodingError) as raised:
        flow.serialize()
    assert raised.value.path == "Flow.routines['a'].attributes['notes']['lock']"


def test_a_field_that_is_declared_and_not_set_is_refused() -> None:
    data = Named.__new__(Named)
    with pytest.raises(ValueEncodingError, match="whose field 'name' is not set") as raised:
        data.serialize()
    assert raised.value.path == "Named"
    data.name = "x"
    assert again(data).name == "x"
    assert data.serialize() == {"$format": 1, "$type": "tests.Named", "name": "x", "limit": 5}


@register_serializable("tests.Named")
class Named(Serializable):
    name: str
    limit: int = 5
    plain = 3

    @property
    def computed(self) -> int:
        return 1


def test_fields_are_put_in_and_taken_out() -> None:
    named = Named()
    named.name, named.secret = "x", object()  # type: ignore[attr-defined]
    named.remove_serializable_fields(["secret", "limit"])
    named.add_serializable_fields(["plain"])
    back = again(named)
    assert (back.name, back.limit, back.plain) == ("x", 5, 3)
    assert "limit" not in vars(back)
    back.secret = object()  # still out
    assert "secret" not in back.serialize()
    back.secret = 1
    back.add_serializable_fields(["secret"])
    assert again(back).secret == 1
    with pytest.raises(OptionError, match="computed"):
        named.add_serializable_fields(["computed"])
    with pytest.raises(OptionError, match="a list of names"):
        named.add_serializable_fields("plain")


def test_only_what_may_be_serialized_is_registered() -> None:
    with pytest.raises(RegistrationError, match="is not derived from Serializable"):
        register_serializable(Path)
    with pytest.raises(RegistrationError, match="a class or a function"):
        register_serializable("tests.nothing")(3)  # type: ignore[type-var]
    with pytest.raises(RegistrationError, match="has no fields"):
        register_serializable("tests.f", version=2)(keep_newest)


def test_data_of_a_flow_that_cannot_be_is_refused_by_name() -> None:
    flow = Flow("f")
    flow.add_routine(Counting(), "a")
    flow.add_routine(square, "b")
    flow.connect("a", "done", "b", "input")
    data = flow.serialize()
    with pytest.raises(ForbiddenModuleError):
        Flow.deserialize(data)
    for change, says in (
        ({"connections": [{**data["connections"][0], "slot": "inptu"}]}, "inptu"),
        ({"options": {"a": {"placement": "moon"}}}, "placement"),
        ({"outputs": [["a", "nothing", None]]}, "nothing"),
        ({"flow_id": "no name"}, "no name"),
        ({"routines": {"a": 1}}, "expected a Routine object"),
        ({"$format": 2}, "a newer version wrote it"),
        ({"$type": "routilux.Slot", "$version": 9}, "version 9"),
    ):
        with pytest.raises((PlainDataError, ValueError), match=says):
            Flow.deserialize({**data, **change}, allow_modules=MODULES)
    with pytest.raises(PlainDataError, match="expected a Event"):
        Event.deserialize(data, allow_modules=MODULES)
    with pytest.raises(PlainDataError, match="the bytes that to_bytes"):
        Flow.from_bytes(b"\xc1")
    with pytest.raises(PlainDataError, match="the dict that serialize"):
        Flow.deserialize([])  # type: ignore[arg-type]


def test_a_routine_reads_no_slot_that_is_none() -> None:
    data = Counting().serialize()
    with pytest.raises(PlainDataError, match="expected a Slot") as raised:
        Counting.deserialize({**data, "slots": [1]}, allow_modules=MODULES)
    assert isinstance(raised.value.__cause__, WiringError)


def test_a_flow_on_ray_is_written_with_what_its_workers_need() -> None:
    flow = Flow("far")
    needs = Ray(num_gpus=1, runtime_env={"pip": ["pillow"]}, label_selector={"zone": "a"})
    flow.add_routine(Adder(), "adder", placement="ray", ray=needs, workers=3)
    read = again(flow)
    assert (read.options["adder"].ray, read.options["adder"].workers) == (needs, 3)
