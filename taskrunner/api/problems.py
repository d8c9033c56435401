"""What goes wrong, as problem documents (RFC 9457).

`type` is `urn:taskrunner:problem:` and the name of the error, so that a client can raise the same one;
`errors` names the fields that were wrong. The text of an error of the store is not shown: it names
hosts and ports.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from taskrunner import errors

TYPE: Final = "urn:taskrunner:problem:"
MEDIA_TYPE: Final = "application/problem+json"

logger = logging.getLogger("taskrunner.api")

# The first that fits counts, so the more special stand above.
_STATUS: Final[Mapping[type[errors.TaskrunnerError], int]] = {
    errors.JobNotFound: 404,
    errors.NodeNotFound: 404,
    errors.ScheduleNotFound: 404,
    errors.ResultExpired: 410,
    errors.DuplicateJob: 409,
    errors.AmbiguousJob: 409,
    errors.NotAuthenticated: 401,
    errors.TooManyRequests: 429,
    errors.AccessError: 403,
    errors.NotConfirmed: 504,
    errors.BrokerError: 503,
    errors.PayloadTooLarge: 413,
    errors.OptionError: 422,
    errors.ArgumentError: 422,
    errors.UnknownTask: 422,
    errors.DeclarationError: 422,
    errors.IllegalTransition: 409,
}
_OPTION: Final = re.compile(r"([a-z_]+)(\[[^=]*\])?=")


def problem_of(error: errors.TaskrunnerError) -> dict[str, Any]:
    """The document that says it, with its status."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    more: dict[str, Any] = {}
    detail = str(error)
    if isinstance(error, errors.BrokerError) and not isinstance(error, errors.NotConfirmed):
        full = isinstance(error, errors.BrokerFull)
        detail = "the store is full" if full else "the store does not answer"
    elif status == 500:
        detail = "the service made a mistake; its log says more"
    if isinstance(error, errors.JobError) and error.job_id:
        more["job_id"] = error.job_id
    if isinstance(error, errors.AmbiguousJob):
        more["queues"] = list(error.queues)
    if status == 422:
        more["errors"] = [{"field": _field(error), "detail": detail}]
    return document(status, detail, kind=type(error).__name__, **more)


def document(status: int, detail: str, *, kind: str = "", **more: Any) -> dict[str, Any]:
    """A problem document; without a kind its type is `about:blank`."""
    return {
        "type": f"{TYPE}{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }


def answer(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The response that a problem document is."""
    return Response(json.dumps(problem).encode(), problem["status"], headers, media_type=MEDIA_TYPE)


def invalid(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the checks of a request have found. A body that is no JSON is 400, all else 422."""
    fields = [{"field": _path(one["loc"]), "detail": str(one["msg"])} for one in found[:20]]
    if any(one["type"] == "json_invalid" for one in found):
        return document(400, "the body is not JSON", kind="NotJson", errors=fields)
    detail = "; ".join(f"{one['field']}: {one['detail']}" for one in fields[:3])
    return document(422, detail, kind="OptionError", errors=fields)


def add_to(api: FastAPI) -> None:
    """Have everything that is raised answered so."""
    api.add_exception_handler(errors.TaskrunnerError, _taskrunner_error)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _mistake)


async def _taskrunner_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.TaskrunnerError)
    found = problem_of(error)
    if found["status"] >= 500:
        logger.warning("%s %s: %s", request.method, request.url.path, error)
    return answer(found, _headers(error))


def _headers(error: errors.TaskrunnerError) -> dict[str, str]:
    match error:
        case errors.TooManyRequests():
            return {"retry-after": str(max(1, math.ceil(error.retry_after)))}
        case errors.NotAuthenticated():
            return {"www-authenticate": 'Bearer realm="taskrunner"'}
        case errors.NotConfirmed():
            return {}
        case errors.BrokerError():
            return {"retry-after": "1"}
        case _:
            return {}


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(invalid(error.errors()))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {404: "there is nothing here", 405: "that method is not possible here"}
    found = document(error.status_code, detail.get(error.status_code, str(error.detail)))
    return answer(found, error.headers)


async def _mistake(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(document(500, "the service made a mistake; its log says more"))


def _field(error: errors.TaskrunnerError) -> str:
    """Which option an error is about, as far as its text begins with that."""
    named = _OPTION.match(str(error))
    if named:
        return named[1]
    return {"ArgumentError": "args", "UnknownTask": "task"}.get(type(error).__name__, "")


def _path(place: Sequence[Any]) -> str:
    """Where in a request something was wrong, as in `body.args`; the place alone of what is in the
    query or the path."""
    first, *rest = place or ("",)
    if first in ("query", "path", "header") and rest:
        return str(rest[0])
    return ".".join(map(str, rest if first == "body" and rest else place))
