"""The service put together: routes, and what is the same for all of them."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from taskrunner._version import __version__
from taskrunner.api import jobs, nodes, problems, queues, schedules, submitting, system
from taskrunner.api.openapi import describe
from taskrunner.app import App

_ROUTERS: tuple[APIRouter, ...] = (
    submitting.router,
    jobs.router,
    queues.router,
    schedules.router,
    nodes.router,
    system.router,
    system.public,
)


def create_api(app: App, *, readiness: system.Readiness | None = None) -> FastAPI:
    """The HTTP service of an App, as an ASGI application.

    Whatever stands in front of it says who asks, in the request's state; nobody who is not known is
    answered. `readiness` says what keeps a supervisor beside it from running jobs, if anything does.
    """
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
    api.state.store_answers = system.StoreAnswers(app)
    problems.add_to(api)
    for router in _ROUTERS:
        api.include_router(router)
    describe(api, _ROUTERS)
    return api
