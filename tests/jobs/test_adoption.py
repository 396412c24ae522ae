"""What a flow takes over of a job that another version of it has left, and what it refuses to lose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routilux import Flow
from routilux.jobs.adoption import Adoption, Changes, adopt
from routilux.jobs.errors import ResumeRefusedError
from routilux.jobs.imaging import image_topology
from routilux.records.schema import Image, MemoImage, PausePoint
from routilux.routing import GONE, compile_plan
from routilux.serial.carried import Carried
from routilux.serial.registry import Registry
from routilux.turn.codec import decode_boot
from routilux.turn.gather import slot_key
from routilux.turn.stats import stat_key
from tests.jobs.shapes import (
    CODEC,
    External,
    Free,
    Node,
    Valued,
    chain,
    count_held,
    find_unconserved,
    image_of,
    topology_of,
)

AB, BC = "a.out -> b.input", "b.out -> c.input"
GATHERED = {slot_key("input"): [CODEC.encode({"n": 1})]}


def resume(
    image: Image,
    flow: Flow,
    rename: dict[str, str] | None = None,
    drop: tuple[str, ...] = (),
    migrated: tuple[str, ...] = (),
    registry: Registry | None = None,
) -> Adoption:
    find_type = (registry or Registry()).find_type
    return adopt(image, topology_of(flow), find_type, Changes(rename or {}, drop, migrated))


def losses(*args: Any, **kwargs: Any) -> tuple[str, ...]:
    with pytest.raises(ResumeRefusedError) as caught:
        resume(*args, **kwargs)
    return caught.value.losses


def without_code_notes(adoption: Adoption) -> list[str]:
    return [note for note in adoption.notes if not note.startswith("the code of")]


# ---- what goes


def test_the_same_flow_goes_as_it_is_and_without_a_word() -> None:
    image = image_of(chain("a", "b"), waiting={AB: 2}, letters={AB: 1}, results=2, collected=1, states={"a": {"x": 1}})
    adoption = resume(image, chain("a", "b"))
    assert adoption == Adoption(image, [edge.label for edge in image.topology.edges], [])


def test_other_code_is_a_note_alone() -> None:
    image = image_of(chain("a", "b"), waiting={AB: 1})
    shapes = [replace(image.topology.routines[0], source="0123"), *image.topology.routines[1:]]
    adoption = resume(replace(image, topology=replace(image.topology, routines=shapes)), chain("a", "b"))
    assert adoption.notes == ["the code of routine 'a' is another one"]


def test_what_is_added_is_noted() -> None:
    flow = chain("a", "b", "c", a=Node({"input": "override", "more": "append"}, ("out", "log")))
    flow.connect("a", "log", "c", "input")
    adoption = resume(image_of(chain("a", "b"), waiting={AB: 1}), flow, drop=("b.out -> output",))
    assert adoption.notes == [
        "routine 'c' is new",
        "slot 'more' of routine 'a' is new",
        "event 'log' of routine 'a' is new",
        "connection 'b.out -> c.input' is new",
        "connection 'a.log -> c.input' is new",
        "connection 'c.out -> output' is new",
        "connection 'b.out -> output' is gone",
    ]


def test_what_is_gone_and_held_nothing_is_noted() -> None:
    flow = Flow("chain")
    flow.add_routine(Node({}, ("out",)), "a")
    adoption = resume(image_of(chain("a", "b"), states={"b": {}}), flow)
    assert adoption.notes == [
        "routine 'b' is gone",
        "slot 'input' of routine 'a' is gone",
        "connection 'a.out -> b.input' is gone",
        "connection 'b.out -> output' is gone",
    ]
    assert [routine.id for routine in adoption.image.routines] == ["a"]
    assert adoption.image.states == []
    assert adoption.image.job.outputs == []


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"placement": "process"}, "the placement of routine 'b' was thread and is process"),
        ({"placement": "ray"}, "the placement of routine 'b' was thread and is ray"),
        ({"placement": "process", "workers": 3}, "the number of workers of routine 'b' was 1 and is 3"),
    ],
)
def test_other_options_are_noted(options: dict[str, Any], note: str) -> None:
    flow = Flow("other")
    flow.add_routine(Node(), "a")
    flow.add_routine(Node(), "b", **options)
    flow.connect("a", "out", "b", "input", param_mapping={"n": "n"})
    flow.output("b", "out")
    notes = resume(image_of(chain("a", "b"), waiting={AB: 1}, states={"b": {"x": 1}}), flow).notes
    assert note in notes
    assert notes[0] == "the flow was called 'chain' and is 'other'"
    assert f"connection {AB!r} maps parameters otherwise, for messages that wait too" in notes


@pytest.mark.parametrize("policy", ["encoded", "value", "external", "none"])
@pytest.mark.parametrize(("before", "now"), list(permutations(("thread", "process", "ray"), 2)))
def test_a_job_goes_on_at_another_placement_with_all_it_has(before: str, now: str, policy: str) -> None:
    nodes = {"encoded": Node, "value": Valued, "none": Free, "external": External}

    def placed(placement: str) -> Flow:
        flow = chain("a", "b", b=nodes[policy]())
        flow.set_options("b", placement=placement)
        return flow

    image = image_of(
        placed(before),
        waiting={AB: 2},
        in_hand={AB: 1},
        retries={AB: 1},
        letters={AB: 1},
        results=2,
        states={"b": {} if policy == "none" else {"x": 1}},
    )
    adoption = resume(image, placed(now))
    assert adoption.image == image
    assert adoption.notes == [f"the placement of routine 'b' was {before} and is {now}"]


# ---- what would be lost, and what cures it


def kept(policy: str = "encoded", state: Any = None, **parts: Any) -> Image:
    nodes = {"encoded": Node, "value": Valued, "none": Free, "external": External}
    return image_of(chain("a", "b", b=nodes[policy]()), states={"b": state or {"x": 1}}, **parts)


TEXT_STATE = {"x": CODEC.encode([1])}

LOSSES: dict[str, tuple[Image, Flow, str, dict[str, Any]]] = {
    "waiting": (
        image_of(chain("a", "b"), waiting={AB: 2}),
        chain("a"),
        f"2 messages of connection {AB!r}",
        {"drop": (AB,)},
    ),
    "in hand": (
        image_of(chain("a", "b"), in_hand={AB: 1}),
        chain("a"),
        f"1 message of connection {AB!r}",
        {"drop": (AB,)},
    ),
    "retry": (
        image_of(chain("a", "b"), retries={AB: 1}),
        chain("a"),
        f"1 message of connection {AB!r}",
        {"drop": (AB,)},
    ),
    "dead": (
        image_of(chain("a", "b"), letters={AB: 3}),
        chain("a"),
        f"3 messages of connection {AB!r}",
        {"drop": (AB,)},
    ),
    "entry": (
        image_of(chain("a", "b"), waiting={"entry -> a.input": 1}),
        chain("a", "b", a=Node({})),
        "1 message of connection 'entry -> a.input'",
        {"drop": ("entry -> a.input",)},
    ),
    "routine": (
        image_of(chain("a", "b"), waiting={AB: 2}),
        chain("a"),
        f"2 messages of connection {AB!r}",
        {"drop": ("b",)},
    ),
    "state of one that is gone": (
        kept(),
        chain("a"),
        "declared state of routine 'b', which is gone",
        {"drop": ("b.state",)},
    ),
    "kind": (
        kept(),
        chain("a", "b", b=Valued(state=(1, 2))),
        "was kept as 'encoded' says and is as 'value'",
        {"migrated": ("b",)},
    ),
    "kind, let go": (kept(), chain("a", "b", b=Valued()), "kept as 'encoded' says", {"drop": ("b.state",)}),
    "kept no more": (kept(), chain("a", "b", b=Free()), "keeps none any more", {"drop": ("b.state",)}),
    "external": (
        kept(state=TEXT_STATE),
        chain("a", "b", b=External()),
        "is kept as 'external' says now, and has values beyond",
        {"migrated": ("b",)},
    ),
    "merging": (
        image_of(chain("a", "b", b=Node({"input": "append"})), states={"b": GATHERED}),
        chain("a", "b"),
        "what slot 'input' of routine 'b' has gathered, which merged by 'append' and merges by 'override' now",
        {"drop": ("b.input",)},
    ),
    "gathered": (
        image_of(
            chain("a", "b", b=Node({"input": "override", "more": "append"})), states={"b": {slot_key("more"): [b"1"]}}
        ),
        chain("a", "b"),
        "what slot 'more' of routine 'b' has gathered, which merged by 'append' and is gone: rename={'b.more': ",
        {"drop": ("b.more",)},
    ),
    "results": (
        image_of(chain("a", "b"), results=2, collected=1),
        chain("a", "b", "c"),
        "3 results of output 'b.out', which is gone",
        {"drop": ("b.out",)},
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_refused_and_one_word_cures_it(name: str) -> None:
    image, flow, told, cure = LOSSES[name]
    (loss,) = losses(image, flow)
    assert told in loss
    for key, (word,) in cure.items():
        assert word in loss or word == "b", "the list says which name to give"
        if key == "migrated":
            assert f"migrate={{{word!r}: " in loss
    adoption = resume(image, flow, **cure)
    assert find_unconserved(adoption.image) == []
    assert [edge.label for edge in image.topology.edges] == adoption.labels, "numbers stay"


def test_all_losses_are_listed_at_once_and_each_is_cured_by_what_it_says() -> None:
    image = image_of(
        chain("a", "b", "c", c=Node({"input": "append"})),
        waiting={AB: 2, BC: 1},
        letters={AB: 1},
        results=4,
        states={"b": {"x": 1}, "c": {**GATHERED, "y": 2}},
    )
    flow = Flow("chain")
    flow.add_routine(Node(), "a")
    flow.add_routine(Free({"input": "override"}), "c")
    found = losses(image, flow)
    assert len(found) == 6
    drop = tuple(re.findall(r"drop=\['([^']+)'\]", loss)[-1] for loss in found)
    assert sorted(drop) == sorted([AB, BC, "b.state", "c.state", "c.input", "c.out"])
    for left_out in drop:
        (loss,) = losses(image, flow, drop=tuple(name for name in drop if name != left_out))
        assert left_out in loss
    adoption = resume(image, flow, drop=drop)
    assert find_unconserved(adoption.image) == []
    assert adoption.image.job.skipped[:3] == [2, 1, 4], "the dead letter stays counted as dead"
    assert adoption.image.routines[1].figures["skipped"] == 1


def test_what_a_text_of_the_error_shows_is_all_that_is_lost() -> None:
    with pytest.raises(ResumeRefusedError) as caught:
        resume(image_of(chain("a", "b", "c"), waiting={AB: 1, BC: 1}), chain("a", "c"))
    assert str(caught.value) == "\n".join(
        [
            "job 'j1' was not resumed, and nothing of it was changed; what stands in the way:",
            f"  - 1 message of connection {AB!r}, which is gone: rename what it joins, or drop=[{AB!r}]",
            f"  - 1 message of connection {BC!r}, which is gone: rename what it joins, or drop=[{BC!r}]",
        ]
    )


def test_fewer_workers_with_states_are_refused() -> None:
    before, now = Flow("pool"), Flow("pool")
    before.add_routine(Node(), "a", placement="process", workers=3)
    now.add_routine(Node(), "a", placement="process", workers=1)
    image = image_of(before, states={"a": [{"n": 1}, {"n": 2}, {"n": 3}]})
    (loss,) = losses(image, now)
    assert loss.startswith("the declared states of 2 workers of routine 'a', which had 3 and has 1: ")
    assert resume(image, now, drop=("a.state",)).image.states == []
    idle = image_of(before, states={"a": [{"n": 1}, {}, {}]})
    assert [decode_boot(state.body) for state in resume(idle, now).image.states] == [{"n": 1}]


def test_numbers_of_workers_that_are_no_more_are_refused_and_dropped_with_their_states() -> None:
    before, now = Flow("pool"), Flow("pool")
    before.add_routine(Free(), "a", placement="process", workers=2)
    now.add_routine(Free(), "a", placement="process", workers=1)
    counts = {stat_key("n"): 1}
    image = image_of(before, states={"a": [counts, counts]})
    (loss,) = losses(image, now)
    assert loss.startswith("the declared states of 1 worker of routine 'a', which had 2 and has 1: ")
    assert [decode_boot(state.body) for state in resume(image, now, drop=("a.state",)).image.states] == [counts]


def test_a_dropped_state_leaves_what_slots_have_gathered_and_the_reverse() -> None:
    image = image_of(chain("a", "b", b=Node({"input": "append"})), states={"b": {**GATHERED, "x": 1}})
    flow = chain("a", "b", b=Node({"input": "append"}))
    (state,) = resume(image, flow, drop=("b.state",)).image.states
    assert decode_boot(state.body) == GATHERED
    (state,) = resume(image, flow, drop=("b.input",)).image.states
    assert decode_boot(state.body) == {"x": 1}


@pytest.mark.parametrize(
    ("before", "now"),
    [("encoded", External), ("external", Node), ("value", Valued), ("none", Node)],
)
def test_a_policy_that_keeps_a_state_alike_goes(before: str, now: type[Node]) -> None:
    image = kept(before) if before != "none" else image_of(chain("a", "b", b=Free()))
    resume(image, chain("a", "b", b=now()))


# ---- what means nothing


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"drop": ("parse",)}, "drop names 'parse', which is nothing that is gone; what can be dropped: "),
        ({"drop": ("a",)}, "drop names 'a', which is still in the flow"),
        ({"drop": (AB,)}, f"drop names {AB!r}, which is still in the flow"),
        ({"drop": ("b.statf",)}, "drop names 'b.statf', which is nothing that is gone"),
        ({"drop": ("b.out",)}, "drop names 'b.out', which is nothing that is gone"),
        ({"migrated": ("B",)}, "migrate names 'B', which is no routine that the job has and the flow has too"),
        (
            {"rename": {"bb": "b"}},
            "rename names 'bb': the job has 'a', 'a.input', 'a.out', 'b', 'b.input', 'b.out'; did",
        ),
        ({"rename": {"b.inputt": "x"}}, "rename names 'b.inputt': the job has"),
        ({"rename": {"b": "c"}}, "rename makes 'b' 'c': the flow has 'a', 'b'"),
        ({"rename": {"b": "a"}}, "rename makes two routines 'a': 'a', 'b'"),
        ({"rename": {"a": "b"}}, "rename makes two routines 'b': 'a', 'b'"),
        ({"rename": {"b.input": "b.source"}}, "rename makes 'b.input' 'source' of routine 'b': its slots are 'input'"),
        ({"rename": {"b.out": "gone"}}, "rename makes 'b.out' 'gone' of routine 'b': its events are 'out'"),
        ({"rename": {"b.input": "a.input"}}, "rename makes 'b.input' 'a.input' of routine 'b': its slots are 'input'"),
    ],
)
def test_a_name_that_means_nothing_is_refused(changes: dict[str, Any], told: str) -> None:
    image = image_of(chain("a", "b"), waiting={AB: 1}, states={"b": {"x": 1}})
    assert any(loss.startswith(told) for loss in losses(image, chain("a", "b"), **changes))


def test_two_slots_are_not_renamed_into_one() -> None:
    two = Node({"one": "append", "two": "append"})
    image = image_of(chain("a", a=two), states={"a": {slot_key("one"): [b"\x01"], slot_key("two"): [b"\x02"]}})
    (loss,) = losses(image, chain("a", a=Node({"two": "append"})), {"a.one": "two"})
    assert loss == "rename makes two slots 'two' of routine 'a': 'one', 'two'"


# ---- new names


def test_a_renamed_routine_takes_all_along_that_it_had() -> None:
    image = image_of(
        chain("a", "b", "c", b=Node({"input": "append"})),
        waiting={AB: 2, BC: 1},
        retries={AB: 1},
        letters={AB: 1},
        states={"b": {**GATHERED, "x": 1}},
    )
    flow = chain("a", "parse", "c", parse=Node({"input": "append"}))
    adoption = resume(image, flow, {"b": "parse"})
    assert adoption.labels[:2] == ["a.out -> parse.input", "parse.out -> c.input"]
    assert count_held(adoption.image) == count_held(image)
    assert [routine.id for routine in adoption.image.routines] == ["a", "parse", "c"]
    assert adoption.image.states[0].routine_id == "parse"
    assert without_code_notes(adoption) == []
    plan = compile_plan(flow, adoption.labels)
    assert [edge.label for edge in plan.edges] == adoption.labels


def test_two_routines_can_change_names() -> None:
    image = image_of(chain("a", "b"), waiting={AB: 2}, states={"a": {"a": 1}, "b": {"b": 2}})
    adoption = resume(image, chain("b", "a"), {"a": "b", "b": "a"})
    assert adoption.labels[0] == "b.out -> a.input"
    assert [(routine.id, len(routine.waiting)) for routine in adoption.image.routines] == [("b", 0), ("a", 2)]
    assert {state.routine_id: decode_boot(state.body) for state in adoption.image.states} == {
        "b": {"a": 1},
        "a": {"b": 2},
    }


@pytest.mark.parametrize("new", ["source", "b.source"])
def test_a_slot_and_an_event_are_renamed_with_what_was_gathered(new: str) -> None:
    image = image_of(chain("a", "b", b=Node({"input": "append"})), waiting={AB: 1}, results=2, states={"b": GATHERED})
    flow = Flow("chain")
    flow.add_routine(Node(), "a")
    flow.add_routine(Node({"source": "append"}, ("parsed.all",)), "b")
    flow.connect("a", "out", "b", "source")
    flow.output("b", "parsed.all")
    adoption = resume(image, flow, {"b.input": new, "b.out": "parsed.all"})
    assert adoption.labels[:2] == ["a.out -> b.source", "b.parsed.all -> output"]
    assert decode_boot(adoption.image.states[0].body) == {slot_key("source"): GATHERED[slot_key("input")]}
    assert adoption.image.job.outputs[0].event == "parsed.all"
    assert adoption.notes == []


def test_a_connection_that_is_gone_keeps_its_number_through_all_resumes() -> None:
    short = chain("a", "b")
    adoption = resume(image_of(chain("a", "b", "c"), waiting={AB: 2, BC: 1}), short, drop=("c",))
    plan = compile_plan(short, adoption.labels)
    assert plan.edges[1].target == GONE
    assert plan.edges[1].label == BC
    again = replace(adoption.image, topology=image_topology(plan, {}))
    assert resume(again, short).notes == [], "it was told already"
    renamed = resume(again, chain("a", "parse"), {"b": "parse"})
    assert renamed.labels[1] == BC
    back = resume(again, chain("a", "b", "c"))
    assert compile_plan(chain("a", "b", "c"), back.labels).edges[1].target != GONE
    same = replace(again.topology.edges[1], label="a.out -> parse.input")
    edges = [again.topology.edges[0], same, *again.topology.edges[2:]]
    odd = resume(replace(again, topology=replace(again.topology, edges=edges)), chain("a", "parse"), {"b": "parse"})
    assert odd.labels[:2] == ["a.out -> parse.input", "a.out -> parse.input (1)"]


# ---- registered types


def typed(version: int = 1, **parts: Any) -> Image:
    @dataclass
    class Order:
        id: int

    registry = Registry()
    registry.register("shop.Order", version=version, migrations=dict.fromkeys(range(1, version), dict))(Order)
    codec = Carried(registry)
    body = codec.encode(Order(1))
    point = PausePoint(1.0, "", codec.encode(Order(2)), 1, 1)
    if parts.pop("in_state", False):
        return image_of(chain("a", "b"), states={"b": {"order": body}})
    if parts.pop("in_point", False):
        return image_of(chain("a", "b"), points=(point,))
    image = image_of(chain("a", "b"), waiting={AB: 1})
    if parts.pop("in_memo", False):
        return replace(image, job=replace(image.job, memos=[MemoImage(bytes(16), {"order": body})]))
    routine = image.routines[1]
    waiting = [replace(routine.waiting[0], payload=body)]
    return replace(image, routines=[image.routines[0], replace(routine, waiting=waiting)])


@pytest.mark.parametrize("where", [{}, {"in_state": True}, {"in_point": True}, {"in_memo": True}])
def test_a_type_that_occurs_and_is_not_registered_is_refused(where: dict[str, bool]) -> None:
    (loss,) = losses(typed(**where), chain("a", "b"))
    assert loss.startswith("values of type 'shop.Order': no class is registered as 'shop.Order'")


@pytest.mark.parametrize(
    ("written", "version", "fields", "told"),
    [
        (2, 1, ["id"], "version 2 of 'shop.Order' is to be read, and version 1 is registered"),
        (1, 1, ["id", "sum"], "the fields of 'shop.Order' have changed since version 1"),
        (1, 2, ["id", "sum"], "no migration leads from 1 to 2"),
    ],
)
def test_a_type_that_cannot_be_read_here_is_refused(written: int, version: int, fields: list[str], told: str) -> None:
    cls = dataclass(type("Order", (), {"__annotations__": dict.fromkeys(fields, int)}))
    registry = Registry()
    registry.register("shop.Order", version=version)(cls)
    (loss,) = losses(typed(written), chain("a", "b"), registry=registry)
    assert told in loss
    newest = max(version, written) + 1
    registry.register("shop.Order", version=newest, migrations=dict.fromkeys(range(1, newest), dict))(cls)
    resume(typed(written), chain("a", "b"), registry=registry)


def test_types_that_do_not_occur_do_not_matter() -> None:
    image = typed()
    routines = [image.routines[0], replace(image.routines[1], waiting=[])]
    job = replace(image.job, handled=image.job.sent)
    resume(replace(image, routines=routines, job=job), chain("a", "b"))
    resume(typed(), chain("a"), drop=("b",))


# ---- anything


@st.composite
def cases(draw: st.DrawFn) -> tuple[Image, Flow]:  # noqa: C901  a flow and a job, drawn
    """A job of some flow, and another flow with parts of the same names."""

    def flow(ids: list[str]) -> Flow:
        made = Flow("any")
        for id_ in ids:
            slots = draw(st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["override", "append"])))
            kind = draw(st.sampled_from([Node, Free, Valued, External]))
            made.add_routine(kind(slots, tuple(draw(st.sets(st.sampled_from(["p", "q"]))))), id_)
        for one in ids:
            for event in made.routines[one].events:
                for other in ids:
                    for slot in made.routines[other].slots:
                        if draw(st.booleans()):
                            made.connect(one, event, other, slot)
                if draw(st.booleans()):
                    made.output(one, event)
        return made

    names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
    before, now = flow(draw(names)), flow(draw(names))
    labels = [edge.label for edge in topology_of(before).edges if edge.target]
    counts = st.dictionaries(st.sampled_from(labels), st.integers(1, 3))
    states = {}
    for id_, routine in before.routines.items():
        held: dict[str, Any] = {}
        if draw(st.booleans()):
            held |= {
                slot_key(name): [b"\x01"] for name, slot in routine.slots.items() if slot.merge_strategy == "append"
            }
        if draw(st.booleans()):
            held[stat_key("n")] = 1
        if routine.state_policy != "none" and draw(st.booleans()):
            held["" if routine.state_policy == "value" else "k"] = CODEC.encode([1])
        states[id_] = held
    image = image_of(
        before,
        waiting=draw(counts),
        in_hand=draw(counts),
        retries=draw(counts),
        letters=draw(counts),
        results=draw(st.integers(0, 2)),
        states=states,
    )
    return image, now


@given(cases())
def test_whatever_is_refused_is_cured_by_what_the_list_says_and_nothing_is_miscounted(case: tuple[Image, Flow]) -> None:
    image, flow = case
    assert find_unconserved(image) == []
    try:
        adoption = resume(image, flow)
        held = count_held(image)
    except ResumeRefusedError as refused:
        cures = [re.findall(r"drop=\['([^']+)'\]", loss)[-1] for loss in refused.losses]
        assert len(set(cures)) == len(cures), "each loss has a cure of its own"
        adoption = resume(image, flow, drop=tuple(cures))
        held = [
            0 if edge.label in cures or (f"{edge.source}.{edge.event}" in cures and not edge.target) else count
            for edge, count in zip(image.topology.edges, count_held(image), strict=True)
        ]
    assert find_unconserved(adoption.image) == []
    assert count_held(adoption.image) == held, "nothing goes that was not told"
    assert adoption.image.job.sent == image.job.sent
    plan = compile_plan(flow, adoption.labels)
    assert [edge.label for edge in plan.edges][: len(adoption.labels)] == adoption.labels
    resume(replace(adoption.image, topology=image_topology(plan, {})), flow, migrated=())


# ---- partitioned


def partitioned(workers: int = 2, partition_by: str | None = "n") -> Flow:
    flow = Flow("chain")
    flow.add_routine(Node(), "a")
    flow.add_routine(Node(), "b", placement="process", workers=workers, partition_by=partition_by)
    flow.connect("a", "out", "b", "input")
    flow.output("b", "out")
    return flow


def test_states_by_key_go_to_any_number_of_workers() -> None:
    image = image_of(partitioned(3), waiting={AB: 2}, states={"b": {"i1": CODEC.encode({"x": 1})}})
    adoption = resume(image, partitioned(1))
    assert adoption.image.states == image.states
    assert adoption.notes == ["the number of workers of routine 'b' was 3 and is 1"]


@pytest.mark.parametrize(("before", "now"), [(None, "n"), ("n", None)])
def test_a_routine_that_is_partitioned_otherwise_keeps_neither_messages_nor_state(
    before: str | None, now: str | None
) -> None:
    by = {None: "by no key", "n": "by 'n'"}
    image = image_of(partitioned(partition_by=before), waiting={AB: 2}, states={"b": {"x": 1}})
    messages, state = losses(image, partitioned(partition_by=now))
    was = f"{by[before]} and is {by[now]}"
    assert messages.startswith(f"2 messages of routine 'b', which was partitioned {was}: resume it as it was")
    assert state == f"the declared state of routine 'b', which was kept {was}: drop=['b.state']"
    idle = image_of(partitioned(partition_by=before))
    assert resume(idle, partitioned(partition_by=now)).notes == [
        f"the key that keeps the state of routine 'b' was {by[before]} and is {by[now]}"
    ]
