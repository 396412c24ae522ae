"""The base of built-in routines: written as the arguments they were made with.

Owns that form. What such a routine has made of its arguments is made again by its class when it is read.
"""

from __future__ import annotations

from typing import Any

from routilux.errors import WiringError
from routilux.model.routine import Routine
from routilux.model.slot import Slot
from routilux.routines.asking import WholeMessage


class ReadyMade(Routine):
    """A routine that is all told by the arguments of its class, and by what is set of every routine."""

    def slot_annotations(self, slot: Slot) -> dict[str, Any]:
        """Give the types that the functions it was handed take parameters as; its own handlers take any."""
        binding = slot.binding
        return binding.annotations() if isinstance(binding, WholeMessage) else super().slot_annotations(slot)

    def _take_fields(self) -> dict[str, Any]:
        settings = self._take_settings()
        settings.pop("attributes", None)  # made of the arguments
        arguments = self.arguments_by_name()
        if arguments is None:
            raise WiringError(f"a {type(self).__name__} that was not made by its class")
        return {"with": arguments, **settings}

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        arguments = fields.pop("with")
        self._note_arguments((), arguments)
        type(self).__init__(self, **arguments)
        self._fill_settings(fields)
