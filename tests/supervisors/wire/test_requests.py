"""Requests and outcomes come back as they were, and anything else is one error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import FrameError
from supervisors.reasons import Crashed, ErrorRecord, Normal, Raised, Shutdown
from supervisors.wire.requests import (
    NOTHING,
    Begin,
    Drain,
    Ended,
    Fire,
    Handle,
    Outcome,
    Report,
    decode_ended,
    decode_outcome,
    decode_request,
    encode_ended,
    encode_outcome,
    encode_request,
)
from tests.supervisors.wire.mutations import HEADS, check_decoder, mutated, peak_bytes

numbers = st.integers(0, 2**63 - 1)
delays = st.floats(0, allow_nan=False)
records = st.just(ErrorRecord("Type", "text", "trace", ("note",)))
plain = st.recursive(st.none() | st.booleans() | st.text() | st.binary(), lambda parts: st.lists(parts, max_size=3))
requests = st.one_of(
    st.builds(Begin, st.binary(), st.text(), st.text(), numbers),
    st.builds(Handle, st.binary(), numbers),
    st.builds(Fire, numbers),
    st.builds(Report, numbers),
    st.just(Drain()),
)
outcomes = st.builds(
    Outcome,
    replies=st.lists(st.tuples(numbers, st.binary()), max_size=3),
    failures=st.lists(st.tuples(numbers, records, st.none() | st.binary()), max_size=2),
    timers=st.lists(st.tuples(numbers, delays), max_size=3),
    cancelled=st.lists(numbers, max_size=3),
    notes=st.lists(
        st.tuples(st.text(), st.dictionaries(st.text(), delays), st.dictionaries(st.text(), plain, max_size=2)),
        max_size=2,
    ),
    acknowledged=st.none() | st.binary(),
    refused=st.none() | st.text(),
    has_more=st.booleans(),
    takes_terminate=st.booleans(),
)
endings = st.builds(
    Ended,
    st.sampled_from([Normal(), Shutdown("enough"), Crashed(9, None, 7), Raised(ErrorRecord("T", "text", "trace"))]),
    outcomes,
)


@given(requests)
def test_a_request_comes_back(request: object) -> None:
    assert decode_request(encode_request(request)) == request  # type: ignore[arg-type]


@given(outcomes)
def test_an_outcome_comes_back(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


@given(endings)
def test_an_ending_comes_back(ended: Ended) -> None:
    assert decode_ended(encode_ended(ended)) == ended


def test_nothing_is_carried_as_nothing() -> None:
    assert encode_outcome(NOTHING) == b""
    assert decode_outcome(b"") == NOTHING


@given(st.binary(min_size=1) | requests.map(encode_request) | endings.map(encode_ended))
def test_anything_else_is_one_error(data: bytes) -> None:
    for decode in (decode_request, decode_outcome, decode_ended):
        try:
            value = decode(data)
        except FrameError as error:
            assert "not the protocol" in str(error)  # noqa: PT017  both ways are right here
        else:
            assert isinstance(value, Begin | Handle | Fire | Report | Drain | Outcome | Ended)


@given(mutated(requests.map(encode_request)))
def test_a_spoiled_request_is_a_request_or_one_error(data: bytes) -> None:
    check_decoder(decode_request, encode_request, data)


@given(mutated(outcomes.map(encode_outcome)))
def test_a_spoiled_outcome_is_an_outcome_or_one_error(data: bytes) -> None:
    check_decoder(decode_outcome, encode_outcome, data)


@given(mutated(endings.map(encode_ended)))
def test_a_spoiled_ending_is_an_ending_or_one_error(data: bytes) -> None:
    check_decoder(decode_ended, encode_ended, data)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("decode", [decode_request, decode_outcome, decode_ended])
def test_a_body_that_announces_more_than_there_is_takes_no_memory(decode: Callable[[bytes], Any], head: str) -> None:
    for lead in (
        b"",
        b"\x99",
        b"\x99\x90\x90\x90\x90",
        b"\x92",
        b"\x93\x02",
        b"\x99\x90\x90\x90\x90\x91\x93\xa0\x80\x81\xa0",
    ):
        assert peak_bytes(lambda lead=lead: decode(lead + HEADS[head])) < 100_000  # type: ignore[misc]


def test_a_body_that_is_nested_without_end_is_one_error() -> None:
    with pytest.raises(FrameError):
        decode_outcome(b"\x91" * 100_000)
