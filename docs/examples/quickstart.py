from taskrunner import App

app = App()  # the broker comes from TASKRUNNER_BROKER; without it: memory://


@app.task(retries=5, timeout=30)
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    with app.running(processes=2):
        jobs = [add.enqueue(n, b=1) for n in range(10)]
        print([job.result(timeout=10) for job in jobs])
