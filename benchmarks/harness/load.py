"""Half a load: `python -m benchmarks.harness.load JOBS_A_SECOND SECONDS_OF_CPU` submits until killed.

A process of its own, so that whoever measures beside it is not slowed down by its interpreter.
"""

from __future__ import annotations

import sys
from time import monotonic, sleep

from benchmarks.tasks import app, spin

EVERY_S = 0.01


def main() -> None:
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    began, sent = monotonic(), 0
    while True:
        wanted = int((monotonic() - began) * rate) - sent
        if wanted > 0:
            app.enqueue_many(spin.options(retention=0).message(seconds) for _ in range(wanted))
            sent += wanted
        sleep(EVERY_S)


if __name__ == "__main__":
    main()
