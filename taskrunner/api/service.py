"""The service put together: routes, and what is the same for all of them."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from taskrunner._version import __version__
from taskrunner.api import jobs, problems, queues, submitting
from taskrunner.api.openapi import describe
from taskrunner.app import App

_ROUTERS: tuple[APIRouter, ...] = (submitting.router, jobs.router, queues.router)


def create_api(app: App) -> FastAPI:
    """The HTTP service of an App, as an ASGI application.

    Whatever stands in front of it says who asks, in the request's state; nobody who is not known is
    answered.
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
    problems.add_to(api)
    for router in _ROUTERS:
        api.include_router(router)
    describe(api, _ROUTERS)
    return api
