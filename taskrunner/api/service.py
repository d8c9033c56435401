"""The service put together: routes, and what is the same for all of them."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from taskrunner._version import __version__
from taskrunner.api import (
    audit,
    jobs,
    limits,
    live,
    metrics,
    nodes,
    problems,
    queues,
    schedules,
    submitting,
    system,
)
from taskrunner.api.feed import Feed
from taskrunner.api.front import protect
from taskrunner.api.openapi import describe
from taskrunner.app import App

ROUTERS: tuple[APIRouter, ...] = (
    submitting.router,
    jobs.router,
    queues.router,
    limits.router,
    schedules.router,
    nodes.router,
    audit.router,
    metrics.router,
    live.router,
    system.router,
    system.public,
)


def create_api(
    app: App,
    *,
    insecure_no_auth: bool = False,
    readiness: system.Readiness | None = None,
    numbers: metrics.NodeNumbers | None = None,
) -> FastAPI:
    """The HTTP service of an App, as an ASGI application that asks everybody who they are.

    Keys, tokens, limits and the audit are as the App's settings say. With `insecure_no_auth` nobody is
    asked, and whoever can reach it may do everything: it takes requests for localhost alone. `readiness`
    says what keeps a supervisor beside it from running jobs, if anything does, and `numbers` what that one
    has done. Raises ConfigError.
    """
    api = unguarded(app, readiness=readiness)
    api.state.node_numbers = numbers
    protect(api, app, routers=ROUTERS, insecure_no_auth=insecure_no_auth)
    return api


def unguarded(app: App, *, readiness: system.Readiness | None = None) -> FastAPI:
    """The routes alone. Whatever stands in front of them says who asks, in the request's state;
    nobody who is not known is answered."""
    api = FastAPI(
        title="taskrunner",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    api.state.taskrunner = app
    api.state.readiness = readiness
    api.state.node_numbers = None
    api.state.feed = Feed(app)
    api.state.store_answers = system.StoreAnswers(app)
    problems.add_to(api)
    for router in ROUTERS:
        api.include_router(router)
    describe(api, ROUTERS)
    return api
