"""A slot: an input of a routine, with its handler and the way it merges what comes.

Owns the three and their checks. Never holds what came: what a slot gathers belongs to the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.errors import HandlerError, OptionError
from routilux.model.binding import Binding, compile_binding
from routilux.model.merging import MergeStrategy, checked_strategy
from routilux.serial.naming import built_in
from routilux.serial.serializable import Serializable


@built_in.register("routilux.Slot")
class Slot(Serializable):
    """One of a routine's inputs.

    Args:
        name: its name, unique in the routine.
        handler: called with each message's data, bound by the rules of `Binding`.
        merge_strategy: what a handler gets. `override`: what came. `append`: a list per parameter of all that came so
            far. `latest`: the newest of each connection, once each has sent one. `all`: one of each connection, in
            step: the first of each together, then the second of each. What `batch` gives: so many together. A function
            is given what is gathered and what came, and gives the merged.
        owner: how errors call the routine.
        binding: how the handler takes its data; None to read it from the handler's signature.
        at_end: whether it is sent one message, without parameters, when nothing else can come: nothing more from
            outside, and all before it is handled, in the routines ahead of this one too.

    Raises:
        HandlerError: the handler cannot be one, or needs a parameter and is to be called at the end.
        OptionError: the merge strategy is none, or the slot merges and is to be called at the end.
    """

    def __init__(
        self,
        name: str,
        handler: Callable[..., Any],
        merge_strategy: MergeStrategy = "override",
        *,
        owner: str = "",
        binding: Binding | None = None,
        at_end: bool = False,
    ) -> None:
        what = f"slot {name!r} of {owner}" if owner else f"slot {name!r}"
        self.name = name
        self.handler = handler
        self.merge_strategy = checked_strategy(merge_strategy, what)
        self.binding = compile_binding(handler, what) if binding is None else binding
        self.at_end = at_end
        if at_end:
            self._check_end(what)

    def __repr__(self) -> str:
        return f"Slot({self.name!r}, merge_strategy={self.merge_strategy!r})"

    def _check_end(self, what: str) -> None:
        if self.merge_strategy != "override":
            raise OptionError(f"{what}: a slot with at_end merges by 'override', got {self.merge_strategy!r}")
        needed = self.binding.lacks(frozenset())
        if needed:
            raise HandlerError(
                f"{what}: with at_end its handler is called without parameters, and it needs {list(needed)}; "
                "give them defaults"
            )

    def _take_fields(self) -> dict[str, Any]:
        fields = {"name": self.name, "handler": self.handler, "merge_strategy": self.merge_strategy}
        return {**fields, "at_end": True} if self.at_end else fields

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        type(self).__init__(self, **fields)
