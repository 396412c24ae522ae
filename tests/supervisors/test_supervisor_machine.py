"""A supervisor against a plain model: a list of children, and what each call and each end makes of it.

The model knows nothing of starting and stopping, of rounds and of notices: it says what is so when all
has come to rest. In between, a burst throws calls and ends at the supervisor without waiting for
any; then every asker must be answered, and what is left must be at rest.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from supervisors.calls import (
    AwaitChild,
    CountChildren,
    DeleteChild,
    Reconfigure,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from supervisors.errors import ChildError, ChildExistsError, ChildStateError, UnknownChildError
from supervisors.spec import RestartType
from supervisors.supervisor import RestartStrategy, Supervisor
from tests.supervisors.drivers import LOOSE, StepDriver

IDS = st.sampled_from("abcde")
TYPES = st.sampled_from(["permanent", "transient", "temporary"])
STRATEGIES = st.sampled_from([strategy.value for strategy in RestartStrategy])
HOWS = st.sampled_from(["leave", "raise", "kill"])
CALLS = st.one_of(
    st.tuples(st.sampled_from(["terminate", "restart", "delete", "await"]), IDS),
    st.tuples(st.just("start"), IDS, TYPES),
    st.tuples(st.just("end"), IDS, HOWS),
    st.tuples(st.just("go on"), st.integers(1, 30)),
)


@dataclass
class Row:
    """One child of the model."""

    restart: RestartType
    is_up: bool = False
    has_run: bool = False
    restarts: int = 0

    def start(self) -> None:
        self.restarts += self.has_run
        self.is_up = self.has_run = True


class Model:
    """What is so when all has come to rest."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.rows: dict[str, Row] = {}

    def start(self, id_: str, restart: RestartType) -> type[ChildError] | None:
        if id_ in self.rows:
            return ChildExistsError
        self.rows[id_] = Row(restart)
        self.rows[id_].start()
        return None

    def terminate(self, id_: str) -> type[ChildError] | None:
        if id_ not in self.rows:
            return UnknownChildError
        self._go_down(id_)
        return None

    def restart(self, id_: str) -> type[ChildError] | None:
        wrong = self._refuse_unless_stopped(id_)
        if wrong is None:
            self.rows[id_].start()
        return wrong

    def delete(self, id_: str) -> type[ChildError] | None:
        wrong = self._refuse_unless_stopped(id_)
        if wrong is None:
            del self.rows[id_]
        return wrong

    def end(self, id_: str, how: str) -> None:
        row = self.rows.get(id_)
        if row is None or not row.is_up:
            return
        if row.restart == "temporary" or (row.restart == "transient" and how == "leave"):
            self._go_down(id_)
            return
        ids = list(self.rows)
        group = {"one_for_one": [id_], "one_for_all": ids, "rest_for_one": ids[ids.index(id_) :]}[self.strategy]
        for member in group:
            self._go_down(member)
            if member in self.rows:
                self.rows[member].start()

    def reconfigure(self, strategy: str, id_: str, restart: RestartType) -> None:
        self.strategy = strategy
        self.rows.setdefault(id_, Row(restart)).restart = restart

    def _go_down(self, id_: str) -> None:
        self.rows[id_].is_up = False
        if self.rows[id_].restart == "temporary":
            del self.rows[id_]

    def _refuse_unless_stopped(self, id_: str) -> type[ChildError] | None:
        if id_ not in self.rows:
            return UnknownChildError
        return ChildStateError if self.rows[id_].is_up else None


class SupervisorMachine(RuleBasedStateMachine):
    """Does the same to both."""

    @initialize(seed=st.integers(0, 10_000), strategy=STRATEGIES, types=st.lists(TYPES, max_size=4))
    def begin(self, seed: int, strategy: str, types: list[RestartType]) -> None:
        # In a hurry or not; there are no deadlines that a slow machine would overrun.
        self.driver = StepDriver(seed, hurry=0.05 * (seed % 2))
        self.model = Model(strategy)
        specs = []
        for id_, restart in zip("abcd", types, strict=False):
            specs.append(self.driver.spec(id_, restart=restart))
            self.model.start(id_, restart)
        self.driver.start(Supervisor(specs, strategy=strategy, intensity=LOOSE))

    @rule(id_=IDS, restart=TYPES)
    def start(self, id_: str, restart: RestartType) -> None:
        self._check(StartChild(self.driver.spec(id_, restart=restart)), self.model.start(id_, restart))

    @rule(id_=IDS)
    def terminate(self, id_: str) -> None:
        self._check(TerminateChild(id_), self.model.terminate(id_))

    @rule(id_=IDS)
    def restart(self, id_: str) -> None:
        self._check(RestartChild(id_), self.model.restart(id_))

    @rule(id_=IDS)
    def delete(self, id_: str) -> None:
        self._check(DeleteChild(id_), self.model.delete(id_))

    @rule(id_=IDS, how=HOWS)
    def end(self, id_: str, how: str) -> None:
        self._end(id_, how)
        self.driver.host.run()
        self.model.end(id_, how)

    @rule(strategy=STRATEGIES, id_=IDS, restart=TYPES)
    def reconfigure(self, strategy: str, id_: str, restart: RestartType) -> None:
        spec = self.driver.spec(id_, restart=restart)
        row = self.model.rows.get(id_)
        if restart == "temporary" and not (row is not None and row.is_up):
            return  # a stopped temporary child is none that there could be
        self.driver.call(Reconfigure(strategy, None, None, (spec,)))
        self.model.reconfigure(strategy, id_, restart)

    @rule(seconds=st.floats(0.0, 100.0))
    def let_time_pass(self, seconds: float) -> None:
        self.driver.let_pass(seconds)

    @rule(calls=st.lists(CALLS, min_size=2, max_size=8))
    def burst(self, calls: list[tuple[Any, ...]]) -> None:
        futures = [future for call in calls if (future := self._throw(*call)) is not None]
        self.driver.host.run()
        for future in futures:
            assert future.done(), "an asker was not answered"
            error = future.exception(0)
            assert error is None or isinstance(error, ChildError), repr(error)
        self._learn()

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        infos = self.driver.call(WhichChildren())
        rows = self.model.rows
        assert [info.id for info in infos] == list(rows)
        assert [info.state for info in infos] == ["running" if row.is_up else "stopped" for row in rows.values()]
        assert [info.restarts for info in infos] == [row.restarts for row in rows.values()]
        assert all((info.ref is None) == (info.state == "stopped") for info in infos)
        up = sum(row.is_up for row in rows.values())
        assert self.driver.call(CountChildren()) == (len(rows), up, 0, len(rows))
        assert len(self.driver.host._actors) == up + 1, "an actor was left over"

    @invariant()
    def no_child_is_up_twice_at_once(self) -> None:
        up: set[str] = set()
        for event in self.driver.log:
            if event.kind == "child.started":
                assert event.id not in up
                up.add(event.id)
            elif event.kind == "child.ended":
                up.discard(event.id)

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        order = [id_ for id_, row in self.model.rows.items() if row.is_up]
        self.driver.forget()
        self.driver.close()
        assert self.driver.ended() == order[::-1]

    def _check(self, call: object, wrong: type[ChildError] | None) -> None:
        future = self.driver.send(call)
        self.driver.host.run()
        error = future.exception(0)
        assert type(error) is (type(None) if wrong is None else wrong)

    def _end(self, id_: str, how: str) -> None:
        ref = next((child.ref for child in self.driver.ref.life.behavior.children if child.spec.id == id_), None)  # type: ignore[attr-defined]
        if ref is not None and how == "kill":
            ref.kill()
        elif ref is not None:
            ref.signal(how)

    def _throw(self, what: str, *args: Any) -> Future[Any] | None:
        match what, args:
            case "go on", (steps,):
                for _ in range(steps):
                    self.driver.host.step()
                return None
            case "end", (id_, how):
                self._end(id_, how)
                return None
            case "start", (id_, restart):
                return self.driver.send(StartChild(self.driver.spec(id_, restart=restart)))
        kinds = {"terminate": TerminateChild, "restart": RestartChild, "delete": DeleteChild, "await": AwaitChild}
        return self.driver.send(kinds[what](*args))

    def _learn(self) -> None:
        """Take over what has become of a burst, after seeing that it makes sense."""
        children = self.driver.ref.life.behavior.children  # type: ignore[attr-defined]
        infos = self.driver.call(WhichChildren())
        assert len({info.id for info in infos}) == len(infos)
        assert {info.state for info in infos} <= {"running", "stopped"}
        self.model.rows = {
            info.id: Row(child.spec.restart, info.state == "running", not child.is_new, info.restarts)
            for info, child in zip(infos, children, strict=True)
        }
        assert all(row.is_up or row.restart != "temporary" for row in self.model.rows.values())


TestSupervisorMachine = SupervisorMachine.TestCase
