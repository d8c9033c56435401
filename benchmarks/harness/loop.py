"""One loop of CPU work without a queue: `python -m benchmarks.harness.loop COUNT SECONDS` prints how
many seconds so many jobs took."""

from __future__ import annotations

import sys
from time import perf_counter

from benchmarks.tasks import app


def main() -> None:
    task, count, seconds = app.tasks[sys.argv[1]], int(sys.argv[2]), float(sys.argv[3])
    began = perf_counter()
    for _ in range(count):
        task(seconds)
    print(perf_counter() - began)


if __name__ == "__main__":
    main()
