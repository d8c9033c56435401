"""A client of the HTTP service, with the method names of `App`.

    from taskrunner.client import HttpClient

    with HttpClient("https://jobs.example.com", key="trk_…") as app:
        job = app.enqueue("mail.send", args=(42,), priority=9)
        print(job.result(timeout=10))

    words.py: what is said ─▶ client.py: over the wire ─▶ answers.py: a value, or the error that `App` raises

It needs the extra `client`, and neither a broker nor the code of the tasks.
"""

from __future__ import annotations

from taskrunner.errors import ConfigError

try:
    from taskrunner.client.client import HttpClient
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise ConfigError(
        ["the client of the HTTP service needs httpx: pip install 'taskrunner-queue[client]'"]
    ) from error

from taskrunner.client.answers import RemoteJobInfo
from taskrunner.client.job import RemoteJob

__all__ = ["HttpClient", "RemoteJob", "RemoteJobInfo"]
