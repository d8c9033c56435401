"""A task that fails twice, one that asks for another run, and one that gives up.

python docs/examples/retries.py
"""

from __future__ import annotations

from taskrunner import App, Backoff, JobFailed, Reject, Retry, current_job

app = App("memory://")


# After an error: again after 0.1 s, then 0.2 s, at most 4 times; only for these errors.
@app.task(
    retries=4, backoff=Backoff(initial=0.1, factor=2, jitter=False), retry_on=(ConnectionError,)
)
def fetch(page: int) -> str:
    attempt = current_job().attempt
    if attempt < 3:
        raise ConnectionError(f"page {page}: connection reset (attempt {attempt})")
    return f"page {page}, on attempt {attempt}"


@app.task
def poll() -> str:
    """Not an error: what it waits for is not there yet, so the run is not counted."""
    if current_job().attempt < 3:
        raise Retry(delay=0.05, count=False)
    return "there it is"


@app.task
def deliver(address: str) -> None:
    """No retry can help: to the failed jobs at once."""
    raise Reject(f"{address!r} is not an address")


def main() -> None:
    with app.running(processes=1):
        job = fetch.enqueue(7)
        print("fetch:  ", job.result(timeout=10))
        for error in reversed(job.info().errors):
            print(f"          attempt {error.attempt}: {error.type}: {error.message}")
        print("poll:   ", poll.enqueue().result(timeout=10))
        try:
            deliver.enqueue("nobody").result(timeout=10)
        except JobFailed as error:
            print(f"deliver: {error.reason}: {error.error_message}")


if __name__ == "__main__":
    main()
