"""The OpenAPI document: besides what the routes say, the scopes they take and the problems they may
answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from taskrunner.access import Scope
from taskrunner.api.bodies import NewJob
from taskrunner.api.caller import Needs
from taskrunner.api.problems import MEDIA_TYPE
from taskrunner.api.shapes import Problem

_PROBLEMS: Final = {
    "400": "The request cannot be read",
    "401": "Nobody knows who asks",
    "403": "Whoever asks may not do that",
    "404": "There is no such thing, or none that whoever asks may see",
    "408": "The body did not come in time",
    "409": "Not possible as things are now",
    "410": "It is no longer kept",
    "413": "Too large",
    "422": "Something in the request is not accepted; `errors` names it",
    "429": "Not now; Retry-After says when",
    "502": "What the store holds cannot be read here",
    "503": "The store is away or full, or the service is not ready",
    "504": "It took too long, and may have been done",
}
_METHODS: Final = frozenset({"get", "post", "put", "delete"})


def scope_of(route: APIRoute) -> Scope | None:
    """What a route takes. Raises LookupError for one that does not say: each must."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Needs):
            return dependency.call.scope
    raise LookupError(f"the route {route.path} does not say which scope it takes")


def routes_of(routers: Sequence[APIRouter]) -> Iterator[APIRoute]:
    """The routes that ask who asks."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and "public" not in route.tags:
                yield route


def describe(api: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Have `api.openapi()` answer the whole document. Raises LookupError for a route that does not
    say which scope it takes."""
    scopes = {
        (route.path_format, method.lower()): scope_of(route)
        for route in routes_of(routers)
        for method in route.methods or ()
    }

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = _document(api, scopes)
        return api.openapi_schema

    @lru_cache(maxsize=256)
    def words_of(path: str, method: str) -> frozenset[str]:
        """The words that may be in a query."""
        operation = openapi()["paths"].get(path, {}).get(method.lower(), {})
        named = operation.get("parameters", ())
        return frozenset(one["name"] for one in named if one["in"] == "query")

    api.state.scopes = scopes
    api.state.words_of = words_of
    api.openapi = openapi  # type: ignore[method-assign]


def _document(api: FastAPI, scopes: Mapping[tuple[str, str], Scope | None]) -> dict[str, Any]:
    found = get_openapi(
        title=api.title,
        version=api.version,
        routes=api.routes,
        description="Submit jobs, see what became of them, and run the place.",
        license_info={"name": "MIT"},
    )
    components = found.setdefault("components", {})
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    schemas = components.setdefault("schemas", {})
    for model in (Problem, NewJob):
        shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(shape.pop("$defs", {}))
        schemas[model.__name__] = shape
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, item in found["paths"].items():
        for method in _METHODS & item.keys():
            _complete(item[method], scopes.get((path, method), ...))
    return found


def _complete(operation: dict[str, Any], scope: Any) -> None:
    """The problems, and who may."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = operation["responses"]
    responses.pop("422", None)
    for status, text in _PROBLEMS.items():
        responses.setdefault(status, {"description": text, "content": content})
    if scope is ...:
        return
    operation["security"] = [{"bearer": [] if scope is None else [scope.value]}]
    if scope is not None:
        operation["description"] = (
            f"{operation.get('description', '')}\n\nTakes the scope `{scope}`.".strip()
        )
