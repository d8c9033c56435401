"""Tasks that submit tasks and wait for them, with a single worker process.

    python docs/examples/nested_jobs.py

A job that waits in `result()` does not count against its process: taskrunner starts a process more
where all of them wait. Only when there is nothing left to start does it raise WouldDeadlock.
"""

from __future__ import annotations

from taskrunner import App

app = App("memory://")


@app.task
def total(numbers: list[int]) -> int:
    """Adds up by halves; each half is a job."""
    if len(numbers) <= 4:
        return sum(numbers)
    middle = len(numbers) // 2
    halves = [total.enqueue(numbers[:middle]), total.enqueue(numbers[middle:])]
    return sum(half.result(timeout=30) for half in halves)


def main() -> None:
    with app.running(processes=1):
        found = total.enqueue(list(range(1, 17))).result(timeout=30)
    print(f"1 + 2 + … + 16 = {found}")
    assert found == 136


if __name__ == "__main__":
    main()
