"""`python -m taskrunner`, the same program as the console script `taskrunner`."""

from __future__ import annotations

from taskrunner.cli import main

if __name__ == "__main__":
    main()
