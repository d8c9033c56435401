"""A rate, a place for each customer, and a pause.

python docs/examples/limits.py
"""

from __future__ import annotations

import itertools
import time

from taskrunner import App, State

app = App("memory://")


@app.task(rate_limit="20/s")
def send(number: int) -> float:
    return time.monotonic()


# One at a time for each customer, in order; customers side by side.
@app.task(max_running=1, running_key="customer-{customer}")
def book(customer: int, amount: int) -> tuple[float, float]:
    began = time.monotonic()
    time.sleep(0.05)
    return began, time.monotonic()


def main() -> None:
    with app.running(processes=2):
        sent = [job.result(timeout=30) for job in [send.enqueue(n) for n in range(21)]]
        print(f"rate:  21 started within {max(sent) - min(sent):.1f} s")

        booked = [job.result(timeout=30) for job in [book.enqueue(7, n) for n in range(4)]]
        in_turn = all(before[1] <= after[0] for before, after in itertools.pairwise(booked))
        print(f"place: one after the other: {in_turn}")

        app.limits.pause("default", task=send.name)
        job = send.enqueue(0)
        while job.state() is not State.WAITING:
            time.sleep(0.01)
        print(f"pause: {job.state()}")
        app.limits.resume("default", task=send.name)
        job.result(timeout=30)
        print(f"pause: {job.state()}")


if __name__ == "__main__":
    main()
