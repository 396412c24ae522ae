"""The turns of a block, held against the same turns one by one: the same commits, in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.blocks import Block, Keys
from routilux.context import current_turn
from routilux.errors import UnknownEventError
from routilux.ids import key_of_turn, to_id
from routilux.messages import Message, Once, TurnPart, TurnResult, TurnResults
from routilux.model.routine import Routine
from routilux.turn import outbox
from routilux.turn.codec import (
    Codec,
    Delivered,
    LocalCodec,
    WireBlock,
    WireCodec,
    WireResult,
    WireResults,
    decode_part,
    encode_boot,
    write_block,
    write_request,
)
from routilux.turn.outbox import BYTES_BOUND, SECONDS_BOUND
from routilux.turn.service import RoutineService
from routilux.turn.state import apply_ops, begin_state, decode_state
from routilux.turn.tables import Incoming, Outgoing
from routilux.turn.values import PICKLED
from supervisors.places.base import Ran, RequestAbandoned, Watch
from supervisors.places.copies import generation
from supervisors.wire.frames import decode_body, encode_body

CONNECTION = 77
WATCH = Watch(lambda: 0.0, generation.mark)
COUNT_BOUND = 7


@pytest.fixture(autouse=True, scope="module")
def _low_bound() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outbox, "COUNT_BOUND", COUNT_BOUND)
        yield


class Does(Routine):
    """Does for each message what that says, and writes down how it saw it."""

    def __init__(self, runner: Runner, merge: Any = "override", events: tuple[str, ...] = ("out", "other")) -> None:
        super().__init__()
        self.runner = runner
        self.define_slot("in", self.handle, merge)
        for event in events:
            self.define_event(event, ["n"])

    def handle(self, acts: Any) -> Any:
        if acts and isinstance(acts[0], list):  # what the slot has gathered
            self.emit("out", n=len(acts))
            acts = acts[-1]
        if any(act == "yield" for act, _ in acts):
            return self._generate(acts)
        for act, n in acts:
            self._do(act, n)
        return None

    def _generate(self, acts: list[tuple[str, int]]) -> Iterator[None]:
        for act, n in acts:
            if act == "yield":
                yield
            else:
                self._do(act, n)

    def _do(self, act: str, n: int) -> None:  # noqa: C901, PLR0912  a verb for everything
        match act:
            case "out" | "other":
                self.emit(act if act in self.events else "out", n=n)
            case "many":
                for one in range(COUNT_BOUND + n):
                    self.emit("out", n=one)
            case "large" | "half":
                self.emit("other" if "other" in self.events else "out", n=b"x" * (BYTES_BOUND // (1 + (act == "half"))))
            case "think":
                self.runner.now += SECONDS_BOUND
            case "count":
                self.state["count"] = self.state.get("count", 0) + n
            case "show":
                self.emit("out", n=self.state)
            case "stats":
                self.stats.add("turns", n)
            case "once":
                self.runner.seen.append(self.once(f"{n}", lambda: n))
            case "who":
                self.runner.seen.append((self.message_id, self.attempt, self.redelivered))
            case "nonsense":
                with pytest.raises(UnknownEventError):
                    self.emit("nonsense", n=n)
            case "swallow":
                try:
                    self._do("many", n)
                except RequestAbandoned:
                    self.runner.seen.append("swallowed")
            case _:
                raise LookupError(n)


class Shape(NamedTuple):
    """How a routine is run, and what it emits."""

    is_wire: bool = False
    """As in a process."""
    is_uniform: bool = False
    """Whether it has one event alone."""

    @property
    def outgoing(self) -> tuple[Outgoing, ...]:
        out = Outgoing("out", by_reference=True, encoded=False)
        # The second as to a process.
        return (out,) if self.is_uniform else (out, Outgoing("other", by_reference=True, encoded=True))


class Runner:
    """Runs messages as a place does, and writes down in order what became of each."""

    def __init__(
        self,
        shape: Shape = Shape(),  # noqa: B008  a tuple
        *,
        atomic: bool = False,
        merge: Any = "override",
        refuses_parts: bool = False,
    ) -> None:
        self.now = 0.0
        self.refuses_parts = refuses_parts
        self.seen: list[Any] = []
        self.log: list[Any] = []
        self.number = 0
        self.is_wire = shape.is_wire
        self.codec: Codec = WireCodec() if shape.is_wire else LocalCodec()
        routine = Does(self, merge, tuple(out.event for out in shape.outgoing))
        self.routine = routine
        self.service = RoutineService(
            routine,
            "r",
            {0: Incoming("in", ())},
            shape.outgoing,
            job_id="j",
            atomic=atomic,
            retryable=(Exception,),
            codec=self.codec,
            clock=lambda: self.now,
        )
        self.committed = begin_state(routine, PICKLED, by_reference=not shape.is_wire)
        self.service.boot(0, encode_boot(self.committed) if shape.is_wire else self.committed)

    @property
    def state(self) -> Any:
        routine = self.routine
        return decode_state(
            self.committed, routine.state_type, policy=routine.state_policy, codec=PICKLED, at_rest=True
        )

    def commit(self, number: int, result: TurnResult) -> None:
        apply_ops(self.committed, result.state)
        self.log.append(("done", number, result.emissions, sorted(op[:2] for op in result.state)))

    def fail(self, number: int, error: BaseException) -> None:
        self.service.settle(accepted=False)
        if self.log[-1:] != [("refused", number)]:
            self.log.append(("failed", number, repr(error)))

    # -- Port

    def part(self, written: Any, weight: int) -> None:
        self.tell_before()
        body = self.read_part(written)
        if self.refuses_parts:
            self.log.append(("refused", self.number))
            raise RequestAbandoned
        self.log.append(("part", self.number, body.to_emissions(), body.state is None))
        if body.state is not None:
            apply_ops(self.committed, body.state)

    def stop_with(self, written: Any, weight: int) -> None:
        refuses, self.refuses_parts = self.refuses_parts, False
        self.part(written, weight)
        self.refuses_parts = refuses

    def confirm(self, written: Any) -> None:
        self.tell_before()
        once: Once | None = self.read_part(written).once
        self.log.append(("once", self.number, once))

    def check(self) -> None:
        """Let the turn go on."""

    def tell_before(self) -> None:
        """Tell of those before the present one, where there are such."""

    # -- The wire, where there is one

    def write(self, data: dict[str, Any]) -> Any:
        return PICKLED.encode(data, "payload") if self.is_wire else data

    def read_part(self, written: Any) -> TurnPart:
        return decode_part(written) if self.is_wire else written

    def read(self, written: Any, kind: type) -> Any:
        return decode_body(encode_body(written), kind) if self.is_wire else written


class OneByOne(Runner):
    """The model: each message by itself."""

    def run(self, messages: list[list[tuple[str, int]]]) -> None:
        for self.number, acts in enumerate(messages):
            message = Message(0, self.number + 1, self.write({"acts": acts}), key_of(self.number))
            request = self.read(write_request(message), Delivered) if self.is_wire else message
            execution = self.service.begin(request, self)
            try:
                while not execution.advance():
                    pass
            except BaseException as error:  # noqa: BLE001  as a place does
                self.fail(self.number, error)
                continue
            self.commit(self.number, self.read(execution.result, WireResult))
            self.service.settle(accepted=True)


class InBlocks(Runner):
    """What is tested."""

    batch: Any = None
    first = 0

    def run(self, messages: list[list[tuple[str, int]]], urgent_at: frozenset[int] = frozenset()) -> None:
        count = len(messages)
        keys = Keys(count, CONNECTION, bases=[key_of_turn(n, 0) for n in range(count)])
        block = Block(0, 1, [self.write({"acts": acts}) for acts in messages], keys, 0.0, 0, count)
        while len(block):
            self.first = block.start
            # On the wire what is left of a block comes as another one that begins there.
            batch = self.read(write_block(block), WireBlock) if self.is_wire else block
            self.batch = self.service.begin_batch(batch, self, self.now)
            block = self.run_block(block, urgent_at)
            self.batch = None

    def run_block(self, block: Block, urgent_at: frozenset[int]) -> Block:
        """Run what is run in one go; gives those behind it."""
        batch, watch = self.batch, Watch(lambda: self.now, generation.mark)
        try:
            while (ran := batch.run(watch, Urgent(self, urgent_at), 1_000_000.0)) is Ran.STOPPED:
                pass
        except BaseException as error:  # noqa: BLE001  as a place does
            self.tell_before()
            number = self.number
            self.fail(number, error)
            return block.between(number + 1, block.stop)
        self.tell_before()
        is_apart = ran is Ran.APART
        if is_apart:
            self.commit(self.number, self.read(batch.result, WireResult))
        behind = block.start + batch.position + is_apart
        position, rest = batch.take_rest(is_apart)
        assert (position, len(rest)) == (behind - block.start, block.stop - behind)
        assert rest.keys.to_list()[rest.first_key + rest.start :] == block.keys.to_list()[behind : block.stop]
        self.service.settle(accepted=True)
        return block.between(behind, block.stop)

    @property
    def number(self) -> int:
        return self.first + (0 if self.batch is None else self.batch.position)

    @number.setter
    def number(self, number: int) -> None:
        self.first = number

    def tell_before(self) -> None:
        taken = self.batch.take_results()
        if taken is None:
            return
        position, results, seconds, at = taken
        assert isinstance(results, TurnResults)
        results = self.read(results, WireResults)
        assert at == results.ats[-1]
        assert seconds == pytest.approx(at - results.began_at)
        for number, result, _seconds, _at in results.one_by_one(self.first + position):
            self.commit(number, result)
        assert self.batch.take_results() is None


class Urgent:
    """As a control lane in which something is at some messages."""

    def __init__(self, runner: InBlocks, at: frozenset[int]) -> None:
        self._runner = runner
        self._at = at

    def __len__(self) -> int:
        return self._runner.number in self._at


def key_of(number: int) -> int:
    return Keys(1, CONNECTION, bases=[key_of_turn(number, 0)]).to_list()[0]


ACTS = st.tuples(
    st.sampled_from(
        "out out out other other many large half think count show stats once who nonsense swallow yield raise".split()  # noqa: SIM905
    ),
    st.integers(0, 3),
)


SHAPES = st.builds(Shape, is_wire=st.booleans(), is_uniform=st.booleans())


@given(
    messages=st.lists(st.lists(ACTS, max_size=5), max_size=12),
    urgent_at=st.frozensets(st.integers(0, 12)),
    shape=SHAPES,
    atomic=st.booleans(),
    refuses_parts=st.booleans(),
)
def test_turns_of_a_block_do_what_they_do_one_by_one(
    messages: list[list[tuple[str, int]]], urgent_at: frozenset[int], shape: Shape, *, atomic: bool, refuses_parts: bool
) -> None:
    model = OneByOne(shape, atomic=atomic, refuses_parts=refuses_parts)
    blocks = InBlocks(shape, atomic=atomic, refuses_parts=refuses_parts)
    model.run(messages)
    blocks.run(messages, urgent_at)
    assert blocks.log == model.log
    assert blocks.seen == model.seen
    assert blocks.state == model.state
    assert current_turn() is None


@given(messages=st.lists(st.lists(ACTS, min_size=1, max_size=2), max_size=8), shape=SHAPES)
def test_what_a_slot_gathers_is_the_same_one_by_one(messages: list[list[tuple[str, int]]], shape: Shape) -> None:
    model, blocks = OneByOne(shape, merge="append"), InBlocks(shape, merge="append")
    model.run(messages)
    blocks.run(messages)
    assert (blocks.log, blocks.seen, blocks.state) == (model.log, model.seen, model.state)


class Tells(NamedTuple):
    """What the tests below look at."""

    service: RoutineService
    batch: Any


def begin(runner: InBlocks, *messages: list[tuple[str, int]]) -> Tells:
    keys = Keys(len(messages), CONNECTION, bases=list(range(len(messages))))
    block = Block(0, 1, [runner.write({"acts": acts}) for acts in messages], keys, 0.0, 0, len(messages))
    runner.batch = runner.service.begin_batch(block, runner, runner.now)
    return Tells(runner.service, runner.batch)


def test_a_block_whose_results_nobody_wants_leaves_nothing_behind() -> None:
    runner = InBlocks()
    service, batch = begin(runner, [("out", 1)], [("out", 2)])
    assert batch.run(WATCH, (), 1.0) is Ran.PLAIN
    service.settle(accepted=False)
    runner.batch = None
    runner.run([[("out", 3)]])
    assert runner.log == [("done", 0, [(0, {"n": 3}, None, ())], [])]


def test_seconds_of_a_turn_that_emits_are_counted_from_its_first_emission() -> None:
    # R3: what computes for long and emits at its end does so at its commit.
    runner = InBlocks()
    runner.run([[("think", 0), ("think", 0), ("out", 1), ("out", 2)], [("out", 3), ("think", 0), ("out", 4)]])
    assert [entry[:2] for entry in runner.log] == [("done", 0), ("part", 1), ("done", 1)]


def test_what_is_let_go_refers_to_nothing_of_the_block() -> None:
    runner = InBlocks()
    service, batch = begin(runner, [("out", 1), ("count", 1)], [("many", 2)])
    assert batch.run(WATCH, (), 1.0) is Ran.APART
    runner.tell_before()
    service.settle(accepted=True)
    assert (batch.position, batch.take_results(), batch.result) == (batch.position, None, None)
    assert len(batch._block) == 0
    assert (batch._out, batch._ats, batch._ends, batch._states) == ([], [], [], [])


def test_in_a_process_no_other_turn_is_begun_once_a_frame_has_much_to_carry() -> None:
    runner = InBlocks(Shape(is_wire=True))
    _service, batch = begin(runner, *[[("half", 0)]] * 4)
    assert (batch.run(WATCH, (), 1.0), batch.position) == (Ran.PLAIN, 2)
    assert (batch.run(WATCH, (), 1.0), batch.position) == (Ran.PLAIN, 4)


@pytest.mark.parametrize(
    "shape", [Shape(is_wire, is_uniform) for is_wire in (False, True) for is_uniform in (False, True)]
)
def test_what_was_given_to_be_told_is_kept_no_more_while_the_block_goes_on(shape: Shape) -> None:
    runner = InBlocks(shape)
    _service, batch = begin(runner, *[[("half", 0), ("count", 1)]] * 3)
    for _ in range(3):
        assert batch.run(WATCH, (1,), 1.0) is Ran.PLAIN
        _position, results, _seconds, _at = batch.take_results()
        assert (len(results), len(results.to_emissions()), len(results.states)) == (1, 1, 1)
        assert not any(batch._out)
        assert not batch._states


def test_a_turn_goes_on_from_what_those_before_it_in_its_block_have_changed() -> None:
    for is_wire in (False, True):
        runner = InBlocks(Shape(is_wire))
        _service, batch = begin(runner, [("count", 1)], [("count", 2)], [("out", 3)])
        assert batch.run(WATCH, (), 1.0) is Ran.PLAIN
        runner.tell_before()
        assert (runner.state, len(runner.log)) == ({"count": 3}, 3)


def test_a_message_of_a_block_is_known_by_its_own_key() -> None:
    runner = InBlocks()
    runner.run([[], [("who", 0)], [], [("who", 0)]])
    assert runner.seen == [(to_id(key_of(1)), 1, False), (to_id(key_of(3)), 1, False)]
