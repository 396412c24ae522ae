"""A slot: an input of a routine, with its handler and the way it merges what comes.

Owns the three and their checks. Never holds what came: what a slot gathers belongs to the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.errors import OptionError
from routilux.model.binding import Binding, compile_binding
from routilux.serial.naming import built_in
from routilux.serial.serializable import Serializable

MergeStrategy = str | Callable[[Any, Any], Any]
"""`override`, `append`, or a function `(old, new) -> merged`."""
MERGE_STRATEGIES = ("override", "append")


@built_in.register("routilux.Slot")
class Slot(Serializable):
    """One of a routine's inputs.

    Args:
        name: its name, unique in the routine.
        handler: called with each message's data, bound by the rules of `Binding`.
        merge_strategy: `override` hands over what came; `append` a list per parameter of all that
            came so far; a function is given what is gathered and what came, and gives the merged.
        owner: how errors call the routine.
        binding: how the handler takes its data; None to read it from the handler's signature.

    Raises:
        HandlerError: the handler cannot be one.
        OptionError: the merge strategy is none.
    """

    def __init__(
        self,
        name: str,
        handler: Callable[..., Any],
        merge_strategy: MergeStrategy = "override",
        *,
        owner: str = "",
        binding: Binding | None = None,
    ) -> None:
        what = f"slot {name!r} of {owner}" if owner else f"slot {name!r}"
        if not callable(merge_strategy) and merge_strategy not in MERGE_STRATEGIES:
            raise OptionError(
                f"{what}: expected merge_strategy to be one of {MERGE_STRATEGIES} or a function (old, new) -> merged, "
                f"got {merge_strategy!r}"
            )
        self.name = name
        self.handler = handler
        self.merge_strategy = merge_strategy
        self.binding = compile_binding(handler, what) if binding is None else binding

    def __repr__(self) -> str:
        return f"Slot({self.name!r}, merge_strategy={self.merge_strategy!r})"

    def _take_fields(self) -> dict[str, Any]:
        return {"name": self.name, "handler": self.handler, "merge_strategy": self.merge_strategy}

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        type(self).__init__(self, **fields)
