"""What a process of any routine needs, imported and made before it is told which routine that is.

Imported by the processes of routines, and by a zygote for all of them; the program has no use for it.
"""

from __future__ import annotations

from routilux.turn.codec import Delivered
from routilux.turn.keyed import KeyedRequest
from supervisors.wire.frames import prepare_reader

for _request_type in (Delivered, KeyedRequest):
    prepare_reader(_request_type)
