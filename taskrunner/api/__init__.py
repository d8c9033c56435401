"""The HTTP service: jobs, queues, schedules and nodes for other languages, scripts and people.

    from taskrunner.api import create_api

    api = create_api(app)          # an ASGI application: for uvicorn, or mounted in one of your own

    request ─▶ caller: who asks, and may this one do that? ─▶ one handler for each route ─▶ Inspector, App
                     problems: whatever is raised, as a problem document (RFC 9457) ◀──────┘

It needs the extra `api`. Each route says which scope it takes (`caller.Needs`); what an identity's
patterns of queues and tasks do not reach is not there for it. Answers are plain JSON, as of `--json`.
"""

from __future__ import annotations

from taskrunner.errors import ConfigError

try:
    from taskrunner.api.service import create_api
except ModuleNotFoundError as error:
    if error.name not in ("fastapi", "starlette", "pydantic", "prometheus_client"):
        raise
    raise ConfigError(
        [f"the HTTP service needs {error.name}: pip install 'taskrunner-queue[api]'"]
    ) from error

__all__ = ["create_api"]
