"""What the store sees of an encrypted job, and who can read it.

python docs/examples/encryption.py
"""

from taskrunner import App, CryptoError
from taskrunner.crypto import Key

# Made anew for this example; a program has it from `taskrunner new-key`, in TASKRUNNER_ENCRYPTION_KEYS.
KEY = Key.new("example").text

app = App("memory://", encryption_keys=[KEY])


@app.task(name="greet")
def greet(name: str) -> str:
    return f"hello {name}"


if __name__ == "__main__":
    with app.running(threads=1):
        job = greet.enqueue("Ada")
        print("result: ", job.result(timeout=10))

        info = job.info()
        print("args:   ", info.args)
        print("stored: ", b"Ada" in info.record.wire, b"Ada" in (info.record.result or b""))

        stranger = App(app.broker).job(job.id)
        print("others: ", stranger.info().task, stranger.info().args)
        try:
            stranger.result(timeout=10)
        except CryptoError as error:
            print("others: ", error)
