"""What is answered: values as JSON, and jobs as far as whoever asks may see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import Response

from taskrunner.api.caller import Caller
from taskrunner.jobinfo import JobInfo
from taskrunner.jsonable import plain

FACTS: Final = (
    *("id", "task", "queue", "state", "reason", "priority", "attempt"),
    *("failures", "crashes", "losses", "suspect", "retries", "timeout", "retention"),
    *("created_at", "eta", "started_at", "finished_at", "expires_at", "deadline"),
    *("node", "pid", "cancelling"),
)
DATA: Final = ("args", "kwargs", "headers", "progress", "errors", "unreadable")
"""What of a job is for those alone who may see what jobs carry."""


def to_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document. Written as ASCII: what is no text in UTF-8 travels all the same."""
    content = json.dumps(plain(value), separators=(",", ":"), allow_nan=False).encode()
    return Response(content, status, headers, media_type="application/json")


def view(info: JobInfo, caller: Caller) -> dict[str, Any]:
    """A job, as `JobInfo` names what is known of it."""
    names = FACTS + DATA if caller.sees_data else FACTS
    found = {name: getattr(info, name) for name in names}
    if not caller.sees_data:
        found["reason"] = None if info.reason is None else info.reason.partition(":")[0]
    return found
