"""How a zygote begins: by importing what it is made of.

Owns the order of that. What the modules of the standard library have called in forked copies (the locks of `threading`
and `logging` made anew) are needless in a worker, which is a copy of a process that never had a second thread: a tenth
of what its start costs. So it is taken over before they are imported, and is due in the copies that workers make.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from supervisors.renewals import renewals


def main(*numbers: int) -> NoReturn:
    """Be a zygote until the program ends; as `zygote.main`. Called by the interpreter that `zygotes` has started."""
    with renewals.taking_over():
        be_zygote: Callable[..., NoReturn] = import_module("supervisors.places.process.zygote").main
    be_zygote(*numbers)
