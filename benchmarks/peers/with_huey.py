"""huey: two processes, results kept, and next to no pause between polls."""

import os

from clocked import main
from huey import RedisHuey

huey = RedisHuey("peer", url=os.environ["PEER_REDIS"], results=True, store_none=True)


@huey.task(name="empty")
def empty() -> None:
    """Nothing."""


def submit(count: int) -> None:
    for _ in range(count):
        empty()


if __name__ == "__main__":
    # By its name: a task is known under its module's, which is another for the program itself.
    from with_huey import submit as submit_by_name

    main(submit_by_name, submit_by_name)
