"""What a type checker must refuse: each line that ends in `error`, and no other."""

from __future__ import annotations

from taskrunner import App, Backoff

app = App("memory://")


@app.task
def send(user_id: int, *, template: str = "welcome") -> str:
    return f"{template} {user_id}"


@app.task(queue="web")
async def fetch(url: str) -> bytes:
    return url.encode()


send.enqueue("x")  # error
send.enqueue()  # error
send.enqueue(1, 2)  # error
send.enqueue(1, templat="x")  # error
send.enqueue(1, template=5)  # error
send.message("x")  # error
send("x")  # error
fetch.enqueue(5)  # error
send.options(priority="high").enqueue(1)  # error
send.options(prio=1).enqueue(1)  # error
send.options(delay=1).enqueue("x")  # error
number: int = send.enqueue(1).result()  # error
text: str = fetch.enqueue("x").result()  # error
send.enqueue(1).results()  # error
send.options(backoff=5)  # error


@app.task(retries="many")  # error
def many() -> None: ...


@app.cron("@daily", catch_up="some")  # error
@app.task
def daily() -> None: ...


daily.enqueue(1)  # error
app.schedules.add("s", daily, evry=5)  # error
app.schedules.preview(5)  # error


async def asynchronous() -> None:
    await send.aenqueue("x")  # error
    await send(1)  # error
    (await fetch("x")).encode()  # error


Backoff(initial="soon")  # error
