"""The quantile sketch: what it tells against exact quantiles, merged ones against one of all."""

from __future__ import annotations

import random
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.tracking import sketch as module
from routilux.tracking.sketch import RELATIVE_ACCURACY, Histogram, Sketch
from tests.tracking.samples import count, sketch_of

SHARES = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0)
ROUNDING = 1e-6
"""What a 32 bit float is off by, and more."""
durations = st.floats(1e-9, 1e9) | st.just(0.0)
many = st.lists(durations, min_size=1, max_size=300)


def exact(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


@given(many)
def test_a_quantile_is_as_near_as_is_promised(values: list[float]) -> None:
    sketch = sketch_of(values)
    for share, found in zip(SHARES, sketch.quantiles(SHARES), strict=True):
        wanted = exact(values, share)
        assert abs(found - wanted) <= (RELATIVE_ACCURACY + ROUNDING) * wanted, (share, found, wanted)


@given(many)
def test_count_sum_and_greatest_are_exact(values: list[float]) -> None:
    sketch = sketch_of(values, at_once=1_000)
    assert (sketch.count, sketch.greatest) == (len(values), max(values))
    assert sketch.mean == pytest.approx(sum(values) / len(values))
    assert sum(sketch.buckets.values()) == len(values), (
        "those that were not looked at are counted with their neighbours"
    )


@given(many, many)
def test_merging_two_is_as_good_as_one_of_all(some: list[float], others: list[float]) -> None:
    merged, one = sketch_of(some), sketch_of([*some, *others])
    merged.merge(sketch_of(others))
    assert (merged.count, merged.greatest) == (len(some) + len(others), max(*some, *others))
    assert merged.total == pytest.approx(sum(some) + sum(others))
    assert merged.buckets == sketch_of(some + others, at_once=1).buckets
    assert merged.quantiles(SHARES) == one.quantiles(SHARES)


@given(many)
def test_it_comes_back_from_bytes_as_it_was(values: list[float]) -> None:
    sketch = sketch_of(values)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sketch), type=Sketch) == sketch
    assert msgspec.json.decode(msgspec.json.encode(sketch), type=Sketch) == sketch


@given(many, many)
def test_a_histogram_goes_on_from_a_sketch_which_does_not_change_with_it(some: list[float], more: list[float]) -> None:
    before = sketch_of(some)
    histogram = Histogram(before)
    assert histogram.sketch() == before
    count(histogram, more)
    after = histogram.sketch()
    assert before == sketch_of(some)
    assert (after.count, after.greatest) == (len(some) + len(more), max(*some, *more))
    assert after.buckets == sketch_of(some + more, at_once=1).buckets


def test_nothing_has_quantiles_of_zero() -> None:
    sketch = Histogram().sketch()
    assert (sketch.quantiles((0.5, 1.0)), sketch.mean, sketch) == ([0.0, 0.0], 0.0, Sketch())


def test_what_is_below_zero_by_rounding_is_zero_to_quantiles() -> None:
    sketch = sketch_of([-1e-12, 0.5, 0.5])
    assert sketch.quantiles((0.0,)) == [0.0]
    assert sketch.quantiles((1.0,)) == pytest.approx([0.5], rel=RELATIVE_ACCURACY)


@given(many, st.integers(1, 300))
def test_of_which_some_are_known_each_of_these_stands_for_its_share(known: list[float], more: int) -> None:
    histogram = Histogram()
    histogram.add(known, len(known) + more, sum(known) + more, max(known) + 1.0)
    sketch = histogram.sketch()
    assert sketch.count == sum(sketch.buckets.values()) == len(known) + more
    assert (sketch.total, sketch.greatest) == (sum(known) + more, max(known) + 1.0)
    assert min(sketch.buckets.values()) >= (len(known) + more) // len(known)


def test_its_memory_has_a_bound_whatever_comes_and_does_not_grow_with_how_much_does() -> None:
    draw = random.Random(7)
    histogram = Histogram()
    used = []
    ours = [tracemalloc.Filter(inclusive=True, filename_pattern=file) for file in (module.__file__, __file__)]
    tracemalloc.start()
    try:
        for _ in range(2):
            for _ in range(100):
                count(histogram, [10 ** draw.uniform(-6, 5) for _ in range(1_000)])
            # Not what else the tests' process allocates meanwhile, on other threads and for what is used first here.
            used_by = tracemalloc.take_snapshot().filter_traces(ours)
            used.append(sum(trace.size for trace in used_by.traces))
    finally:
        tracemalloc.stop()
    assert used[1] - used[0] < 1_000, "where something was counted there is room"
    assert used[1] < 50_000
    sketch = histogram.sketch()
    assert len(sketch.buckets) <= 4_700
    assert len(msgspec.msgpack.encode(sketch)) < 32_000


def test_what_has_come_to_many_buckets_one_by_one_is_counted_as_at_once() -> None:
    values = [1e-6 * 1.05**n for n in range(300)]
    histogram, model = Histogram(), Sketch()
    for value in values:
        histogram.add([value], 2, 2 * value, value)
        model.merge(sketch_of([value, value]))
        assert histogram.sketch().buckets == model.buckets
    assert len(model.buckets) > 200
