"""Ctrl-C before a supervisor handles it itself.

    imports of ours          put_off   the process just ends: nothing has been started
    the command              raise_    KeyboardInterrupt, as Python has it, and remembered
    the user's module read   check     raised again, should it have been lost
    the end                  put_off   nothing is left that could end in better order

Python's own handler raises KeyboardInterrupt wherever the program happens to be, and in a weak
reference's callback, of which the import machinery has many, nobody hears it. A process that was
started with Ctrl-C ignored, as by `nohup`, goes on ignoring it.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

_asked = False


def put_off() -> None:
    """Let Ctrl-C end the process on the spot."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _interrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, where `put_off` was called before."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since `raise_`."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> Any:
    global _asked
    _asked = True
    raise KeyboardInterrupt
