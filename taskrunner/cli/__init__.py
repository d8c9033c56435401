"""The command line. `main` is both the console script and `python -m taskrunner`."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

from taskrunner.cli import interrupts
from taskrunner.cli.exits import Exit

_STDOUT: Final = 1


def main() -> NoReturn:
    """Run the program with the arguments of this process and exit with its code."""
    interrupts.put_off()
    # Takes long enough to be interrupted, so not before.
    from taskrunner.cli.program import execute

    try:
        # A terminal or pipe that cannot show a character gets its number.
        if sys.stdout is not None:
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        code = execute(sys.argv[1:])
        print(end="", flush=True)
    except BrokenPipeError:
        # Whoever read the output has seen enough. The interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        code = Exit.OK
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    interrupts.put_off()
    sys.exit(code)
