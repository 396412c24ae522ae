from __future__ import annotations

import threading

from supervisors.stacks import stacks_under


def test_the_threads_under_a_name_are_told_of_and_no_others() -> None:
    begun, gate = threading.Barrier(4), threading.Event()

    def wait() -> None:
        begun.wait()
        gate.wait()

    threads = [threading.Thread(target=wait, name=name) for name in ("job a/r", "job a/r/loop 1", "job a/rest")]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        found = stacks_under("job a/r")
    finally:
        gate.set()
        for thread in threads:
            thread.join()
    assert sorted(name for name, _stack in found) == ["job a/r", "job a/r/loop 1"]
    assert all(f'File "{__file__}"' in stack for _name, stack in found)
    assert stacks_under("job a/r") == []
