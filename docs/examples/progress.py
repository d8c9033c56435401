"""A task that says how far it is, and a program that watches it and then cancels it.

python docs/examples/progress.py
"""

from __future__ import annotations

import time

from taskrunner import App, JobCancelled, State, current_job

app = App("memory://")


@app.task
def resize(pictures: int) -> int:
    me = current_job()
    for done in range(pictures):
        me.progress(done, pictures, f"picture {done + 1}")
        time.sleep(0.1)
    return pictures


def main() -> None:
    with app.running(processes=1):
        job = resize.enqueue(1000)
        shown = None
        while shown is None or shown.done < 3:
            time.sleep(0.1)
            shown = job.info().progress
        print(f"{shown.done:g} of {shown.total:g}: {shown.text}")

        job.cancel()
        try:
            job.result(timeout=10)
        except JobCancelled as error:
            print(error)
        assert job.state() is State.CANCELLED


if __name__ == "__main__":
    main()
