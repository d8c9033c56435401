"""A schedule in code, one at run time, and what became of their slots.

python docs/examples/schedules.py
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from taskrunner import App, current_job

app = App("memory://")


# Put into effect by every node that runs this code.
@app.cron("30 2 * * *", name="nightly", timezone="Europe/Berlin", catch_up="latest")
@app.task
def nightly() -> None: ...


@app.cron(every=0.5, name="pulse", overlap="skip")
@app.task
def pulse() -> str:
    return current_job().headers.get("taskrunner.slot", "by hand")


def main() -> None:
    for slot in app.schedules.forecast("nightly", 3, datetime(2026, 3, 27, 12, tzinfo=UTC)):
        print(f"nightly: {slot.at}{' (that time does not exist)' * (slot.effect == 'missing')}")
    with app.running(processes=1):
        # At run time, from any process.
        app.schedules.add("hourly", pulse, every=3600)
        print("hourly: ", app.schedules.trigger("hourly").result(timeout=10))
        while len(app.schedules.history("pulse")) < 3:
            time.sleep(0.1)
        app.schedules.pause("pulse")
        for firing in reversed(app.schedules.history("pulse", 2)):
            print(f"pulse:   {firing.slot} {firing.outcome}")


if __name__ == "__main__":
    main()
