"""The command line. `main` is both the console script and `python -m taskrunner`."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from taskrunner.cli.exits import Exit


def main() -> NoReturn:
    """Run the program with the arguments of this process and exit with its code."""
    code: int = Exit.INTERRUPTED
    try:
        # Imported here, where an early Ctrl-C is caught.
        from taskrunner.cli.program import execute

        code = execute(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
    finally:
        # From here on a Ctrl-C has nothing left to interrupt that could end in better order.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def _forget_stdout() -> None:
    # The interpreter flushes standard output once more when it ends, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
