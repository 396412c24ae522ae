"""How long the workers of a routine have been up."""

from __future__ import annotations

from routilux.runtime.lives import Lives


def test_time_is_counted_from_ready_to_gone_and_for_all_workers_together() -> None:
    lives = Lives(2)
    assert lives.uptime(10.0) == 0.0
    lives.note_ready(0, 10.0)
    lives.note_ready(1, 12.0)
    assert lives.uptime(13.0) == 4.0
    lives.note_gone(0, 14.0)
    assert lives.uptime(14.0) == 6.0
    assert lives.uptime(20.0) == 12.0


def test_starts_and_the_waits_before_them_are_no_time_that_a_worker_was_up() -> None:
    lives = Lives(1)
    lives.note_gone(0, 7.0)  # it never got ready
    lives.note_ready(0, 100.0)
    lives.note_gone(0, 101.0)
    lives.note_gone(0, 150.0)  # nor did its successor
    assert lives.uptime(1_000.0) == 1.0
