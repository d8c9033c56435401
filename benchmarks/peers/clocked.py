"""What all scripts here share: `python with_NAME.py one|many COUNT` prints jobs submitted a second.

`one`: each call waits for its answer before the next is made. `many`: whatever is fastest for many.
Imported in the environments of the others, so it imports nothing of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter


def main(one: Callable[[int], None], many: Callable[[int], None]) -> None:
    """Do what this process' arguments say."""
    way, count = sys.argv[1], int(sys.argv[2])
    submit = {"one": one, "many": many}[way]
    submit(1)  # connects, imports what is imported late
    began = perf_counter()
    submit(count)
    print(count / (perf_counter() - began))
