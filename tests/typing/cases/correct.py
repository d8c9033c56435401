"""What a program may write; each `revealed` is what both type checkers say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, reveal_type

from taskrunner import App, Backoff, Job, JobInfo, Reject, Retry, State, Task, current_job

app = App("memory://", namespace="shop", retries=5)


@app.task
def send(user_id: int, *, template: str = "welcome") -> str:
    me = current_job()
    me.progress(3, 10, "resizing")
    if me.cancelled:
        raise Reject("bad address")
    if me.attempt < 2:
        raise Retry(delay=5, count=False)
    return f"{template} {user_id}"


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(
    name="mail.bulk",
    queue="mail",
    priority=7,
    retries=5,
    timeout=30.0,
    backoff=Backoff(initial=1.0, factor=2.0, maximum=600.0, jitter=True),
    retry_on=(OSError, "shop.Busy"),
    retention=timedelta(hours=1),
)
def bulk(*names: str, **counts: int) -> list[int]:
    return [counts[name] for name in names]


@app.task(queue="web")
async def page(number: int = 0) -> None: ...


reveal_type(send(42))  # revealed: str
reveal_type(send.enqueue(42, template="hi"))  # revealed: Job[str]
reveal_type(send.enqueue(42).result(timeout=10))  # revealed: str
reveal_type(fetch.enqueue("http://x"))  # revealed: Job[bytes]
coroutine = reveal_type(fetch("http://x"))  # revealed: Coroutine[Any, Any, bytes]
reveal_type(bulk.enqueue("a", "b", a=1, b=2).result())  # revealed: list[int]
reveal_type(page.enqueue())  # revealed: Job[None]
reveal_type(send.options(delay=10, priority=9, queue="vip").enqueue(42))  # revealed: Job[str]
reveal_type(app.enqueue("mail.send", args=(42,), kwargs={}, priority=9))  # revealed: Job[Any]
reveal_type(app.enqueue_many([send.message(i) for i in range(10)]))  # revealed: list[Job[Any]]
reveal_type(app.job("the-id", queue=None).info())  # revealed: JobInfo


@app.cron("0 3 * * *", timezone="Europe/Berlin", catch_up="all", priority=9)
@app.task
def nightly(days: int = 1) -> str:
    return str(days)


@app.cron(every=30.0, name="often", kwargs={"days": 2}, overlap="skip")
@app.task
async def hourly(days: int = 1) -> str:
    return str(days)


@app.cron("@daily")
def plain(days: int = 1) -> int:
    return days


reveal_type(nightly.enqueue(days=3))  # revealed: Job[str]
reveal_type(hourly.enqueue())  # revealed: Job[str]
reveal_type(plain.enqueue().result())  # revealed: int
app.schedules.add("s", nightly, (1,), every=timedelta(hours=1), start=datetime.now(UTC))
reveal_type(app.schedules.preview("s", count=3))  # revealed: list[datetime]
reveal_type(app.schedules.trigger("s"))  # revealed: Job[Any]
reveal_type(app.schedules.remove("s"))  # revealed: bool

eta = datetime(2030, 1, 1, tzinfo=UTC)
send.options(eta=eta, expires=eta, deadline=eta, headers={"a": "b"}, job_id="x").message(1)


async def main() -> None:
    reveal_type(await fetch("http://x"))  # revealed: bytes
    reveal_type(await send.aenqueue(42))  # revealed: Job[str]
    reveal_type(await app.schedules.apreview("s", 5))  # revealed: list[datetime]
    reveal_type(await (await fetch.aenqueue("x")).aresult(timeout=1))  # revealed: bytes


def takes_task(task: Task[[int], str]) -> Job[str]:
    return task.enqueue(1)


def looks(info: JobInfo) -> tuple[State, Any]:
    return info.state, info.args


with app.running(processes=2):
    pass
with app.running(threads=1, lease_s=1.0):
    pass
