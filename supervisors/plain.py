"""stub, replaced by the merge."""

from typing import Any

from supervisors.behavior import Behavior, Ref
from supervisors.ref import LifeRef


class PlainActor(Behavior):
    def __init__(self, *a: Any, **k: Any) -> None: ...


def is_plain_actor(start: object) -> bool:
    return False


def as_ref(value: object) -> Ref | None:
    return value if isinstance(value, LifeRef) else None
