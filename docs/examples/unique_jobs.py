"""One job for three events: the second is refused, and typing is waited out.

python docs/examples/unique_jobs.py
"""

from __future__ import annotations

from taskrunner import App, DuplicateJob, Unique

app = App("memory://")


@app.task(unique=True)
def charge(order: int) -> str:
    return f"order {order} is paid"


# Each keystroke submits; half a second after the last one the text is saved, once.
@app.task(
    delay=0.5,
    unique=Unique(key=lambda document, text: document, on_conflict="replace"),
)
def save(document: str, text: str) -> str:
    return f"{document} says {text!r}"


def main() -> None:
    first = charge.enqueue(7)
    try:
        charge.enqueue(7)
    except DuplicateJob as error:
        print("charge: refused,", error.existing_id == first.id and "the first is there")

    text = "hello"
    jobs = [save.enqueue("letter", text[:end]) for end in range(1, len(text) + 1)]
    print(f"save:   {len(jobs)} submissions, {len(set(jobs))} job")

    with app.running(processes=1):
        print("charge:", first.result(timeout=10))
        print("save:  ", jobs[0].result(timeout=10))
        print("charge: free again,", charge.enqueue(7).result(timeout=10))


if __name__ == "__main__":
    main()
