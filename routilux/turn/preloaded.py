"""What a process of any routine needs, imported and made before it is told which routine that is.

Imported by the processes of routines, and by a zygote for all of them; the program has no use for it.
"""

from __future__ import annotations

from routilux.turn.codec import Delivered, WireBlock
from routilux.turn.keyed import KeyedRequest
from supervisors.wire.frames import prepare_reader

prepare_reader(Delivered, WireBlock)
prepare_reader(KeyedRequest)
