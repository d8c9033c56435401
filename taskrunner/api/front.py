"""What stands in front of the service's routes: the guard, and what browsers ask before they ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from taskrunner.access import setup
from taskrunner.access.guard import Application, Guard
from taskrunner.access.visit import Receive, Scope, Send
from taskrunner.app import App

_ASKED: Final = (
    *("authorization", "x-api-key", "content-type", "idempotency-key"),
    *("last-event-id", "x-request-id"),
)
_SHOWN: Final = ("location", "retry-after", "x-request-id", "idempotency-replayed")
_FRESH_S: Final = 600


class InFront:
    """The guard, as Starlette wants its middleware: made when the service is put together."""

    def __init__(self, app: Application, guard: setup.MakesGuard) -> None:
        self._guard: Guard = guard(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guard(scope, receive, send)


def protect(
    api: FastAPI,
    app: App,
    *,
    routers: Sequence[APIRouter],
    insecure_no_auth: bool = False,
) -> None:
    """Let nobody get to the routes who is not known, but for those tagged public. Raises
    ConfigError."""
    public = [
        route.path
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and "public" in route.tags
    ]
    guard = setup.guard(app.config, app.broker, public=public, insecure_no_auth=insecure_no_auth)
    api.add_middleware(InFront, guard=guard)
    if app.config.cors_origins:
        # Outermost: what a browser asks beforehand comes without a credential.
        api.add_middleware(
            CORSMiddleware,
            allow_origins=list(app.config.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=list(_ASKED),
            expose_headers=list(_SHOWN),
            max_age=_FRESH_S,
        )
