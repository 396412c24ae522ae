"""stub, replaced by the merge."""

from typing import Any

from supervisors.behavior import Behavior


class ProcessActor(Behavior):
    def __init__(self, *a: Any, **k: Any) -> None: ...
