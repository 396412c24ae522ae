"""What the process of any actor needs, imported and rehearsed before it is told which actor that is.

Imported by the processes of actors, and by a zygote for all of them; the program has no use for it.
"""

from __future__ import annotations

import supervisors
from supervisors.behavior import Behavior, Context
from supervisors.behavior_service import BehaviorService
from supervisors.places.process import rehearsal
from supervisors.wire.requests import Begin, Handle, encode_request
from supervisors.wire.values import encode

NAMES = {name: getattr(supervisors, name) for name in supervisors.__all__}
"""What the modules that define behaviours may import of the package; each is loaded when it is first asked for."""


class _Rehearsed(Behavior):
    """Answers."""

    def on_message(self, message: object, ctx: Context) -> None:
        ctx.reply(message)


rehearsal.parts.append(
    rehearsal.Part(
        BehaviorService,
        [
            encode_request(Begin(encode(_Rehearsed, "make"), "rehearsed", "/rehearsed", 0)),
            encode_request(Handle(encode("message", "message"), 1)),
        ],
    )
)
