"""What must hold of every job of the soak at its end, whatever was done to it.

Owns the checks: each violation is one line. Never runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from routilux import JobState
from routilux.holdings import EdgeCount
from routilux.jobs.history import HISTORY_LIMIT
from supervisors.errors import InternalError, ValueDecodingError
from tests.faults.scenarios import ROUNDS, Looper, Node, Scenario

CAUSE = re.compile(
    r"raised [\w.]+|process \d+ (exited with code \d|was ended by SIG)|took longer than|broke the channel's protocol: "
)
"""A cause that is named."""


class Noted(NamedTuple):
    """What one routine noted of one slot and lap, over all its workers."""

    mask: int
    count: int
    disorder: int
    is_doubled: bool


class Ended(NamedTuple):
    """A job that is over, as it was seen by who ran it.

    Args:
        scenario: what it was.
        state: how it ended.
        sent: from outside, by entry: how many numbers were taken.
        results: numbers that came out, in order.
    """

    scenario: Scenario
    state: JobState
    sent: dict[tuple[str, str], int]
    results: list[int]


def violations(ended: Ended) -> list[str]:
    """Give what does not hold; empty if all does."""
    return [
        *_check_end(ended),
        *_check_books(ended.state),
        *_check_causes(ended),
        *(line for node in ended.scenario.nodes for line in _check_node(ended, node)),
        *_check_results(ended),
    ]


def _check_end(ended: Ended) -> Iterator[str]:
    scenario, state = ended.scenario, ended.state
    if state.status == "failed":
        named = re.match(r"routine '([\w-]+)': ", state.error or "")
        node = scenario.node(named[1]) if named else None
        if node is None or not node.may_stop:
            yield f"it failed, and nothing allows that: {state.error}"
    elif state.status == "cancelled":
        if not any(blow.kind == "cancel" for blow in scenario.blows):
            yield f"it was cancelled by nobody: {state.error}"
    elif state.status != "completed":
        yield f"it is over and {state.status}"


def _check_books(state: JobState) -> Iterator[str]:
    for connection in state.connections:
        if not connection.is_conserved:
            yield f"not conserved: {connection}"
        if connection.in_hand or connection.in_retry:
            yield f"in hand of a job that is over: {connection}"
        # Results are not the job's any more: they may be read when it is over.
        if state.status == "completed" and connection.waiting and not connection.label.endswith(" -> output"):
            yield f"waiting in a job that is completed: {connection}"


def _check_causes(ended: Ended) -> Iterator[str]:
    state = ended.state
    for routine_id, told in state.routine_states.items():
        records = [record for record in state.get_execution_history(routine_id) if record.kind == "error"]
        if len(records) != told["failed"] and len(state.history) < HISTORY_LIMIT:
            yield f"{routine_id} failed {told['failed']} times, and {len(records)} are recorded"
        for text in (record.detail for record in records):
            if not CAUSE.search(text) or InternalError.__name__ in text:
                yield f"{routine_id} failed without a cause: {text}"
    for letter in state.dead_letters:
        if not CAUSE.search(letter.cause):
            yield f"{letter.routine_id} gave a message up without a cause: {letter.cause}"


def _check_node(ended: Ended, node: Node) -> Iterator[str]:
    for slot in node.feeds:
        yield from _check_slot(ended, node, slot)
    dead = [_number(letter) for letter in ended.state.dead_letters if letter.routine_id == node.id]
    known = [number for number in dead if number is not None]
    for n, lap in known:
        slots = [slot for slot in node.feeds if not _is_elsewhere(node, slot, lap)]
        if len(slots) == 1 and _noted(ended, node, slots[0], lap).mask >> n & 1:
            yield f"{node.id} handled {n} of lap {lap} and gave it up too"
    if len(node.feeds) == 1 and len(set(known)) != len(known):
        yield f"{node.id} gave a message up twice: {known}"


def _check_slot(ended: Ended, node: Node, slot: str) -> Iterator[str]:
    connection = _connection(ended.state, node, slot)
    count = 0
    for lap in range(ROUNDS):
        noted = _noted(ended, node, slot, lap)
        count += noted.count
        where = f"{node.id}.{slot} in lap {lap}"
        if noted.is_doubled:
            yield f"{where} handled a message twice"
        if noted.disorder and node.is_ordered:
            yield f"{where} handled {noted.disorder} messages out of order"
        if noted.mask & ~_sent(ended, node, slot, lap, connection):
            yield f"{where} handled what nobody had sent"
    if count != connection.handled:
        yield f"{node.id}.{slot} noted {count}, its books say {connection.handled}: {connection}"
    sent = sum(_sent(ended, node, slot, lap, connection).bit_count() for lap in range(ROUNDS))
    if sent != connection.sent:
        yield f"{node.id}.{slot} was sent {sent}, its books say {connection.sent}: {connection}"


def _check_results(ended: Ended) -> Iterator[str]:
    sink = ended.scenario.node("sink")
    if sink is None:
        return
    expected = [
        n for slot in sink.feeds for n in range(ended.scenario.count) if _noted(ended, sink, slot, 0).mask >> n & 1
    ]
    if sorted(expected) != sorted(ended.results):
        yield f"{len(ended.results)} results came out of {len(expected)} that the sink had handed on"
    if sink.is_ordered and len(sink.feeds) == 1 and ended.results != sorted(ended.results):
        yield "the results came out of order"


def _noted(ended: Ended, node: Node, slot: str, lap: int) -> Noted:
    states: Any = ended.state.routine_states[node.id]["state"]
    mask = count = disorder = 0
    is_doubled = False
    for state in states if isinstance(states, list) else [states]:
        own = state.get(f"{slot}.{lap}.mask", 0)
        is_doubled = is_doubled or bool(mask & own) or own.bit_count() != state.get(f"{slot}.{lap}.count", 0)
        mask |= own
        count += state.get(f"{slot}.{lap}.count", 0)
        disorder += state.get(f"{slot}.{lap}.disorder", 0)
    return Noted(mask, count, disorder, is_doubled)


def _sent(ended: Ended, node: Node, slot: str, lap: int, connection: EdgeCount) -> int:
    """Which numbers were sent to a slot in a lap, as a mask: what its sender has handled, and so emitted."""
    source, event = node.feeds[slot]
    if source == "":
        return 0 if lap else (1 << ended.sent[node.id, slot]) - 1
    sender = ended.scenario.node(source)
    if sender is None:  # the source emits in order, and what of it went out before its turn was over stays sent
        return 0 if lap else (1 << connection.sent) - 1
    if sender.make is Looper and event == "around":
        return _all_noted(ended, sender, lap - 1) if lap else 0
    if sender.make is Looper:
        return 0 if lap else _all_noted(ended, sender, ROUNDS - 1)
    return _all_noted(ended, sender, lap)


def _all_noted(ended: Ended, node: Node, lap: int) -> int:
    mask = 0
    for slot in node.feeds:
        mask |= _noted(ended, node, slot, lap).mask
    return mask


def _is_elsewhere(node: Node, slot: str, lap: int) -> bool:
    return node.make is Looper and (slot == "again") != (lap > 0)


def _number(letter: Any) -> tuple[int, int] | None:
    """Give the number and lap of a dead letter; None where what it carries cannot be read by anyone."""
    try:
        data = letter.data
    except ValueDecodingError:
        return None
    return data["n"], data.get("lap", 0)


def _connection(state: JobState, node: Node, slot: str) -> EdgeCount:
    source, event = node.feeds[slot]
    label = f"{source}.{event} -> {node.id}.{slot}" if source else f"entry -> {node.id}.{slot}"
    return next(connection for connection in state.connections if connection.label == label)
