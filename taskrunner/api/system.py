"""What the service says of itself: whether it is alive and ready, and what it can be asked."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from taskrunner.api.answers import to_json
from taskrunner.api.caller import Caller, Needs
from taskrunner.app import App
from taskrunner.clock import monotonic
from taskrunner.errors import BrokerError
from taskrunner.probes import Fault

FRESH_S: Final = 1.0
"""For how long an answer of the store counts: anybody may ask whether the service is ready."""

Readiness = Callable[[], Fault | None]

public = APIRouter(tags=["public"])
router = APIRouter(tags=["service"])
Known = Annotated[Caller, Depends(Needs(None))]


class StoreAnswers:
    """Whether the store answers, asked once a second at most, whoever wants to know."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._asked_at = -FRESH_S
        self._answers = False

    def __call__(self) -> bool:
        with self._lock:
            if monotonic() - self._asked_at >= FRESH_S:
                self._answers = self._ask()
                self._asked_at = monotonic()
            return self._answers

    def _ask(self) -> bool:
        try:
            self._app.broker.now()
        except BrokerError:
            return False
        return True


@public.get("/healthz", summary="Whether the service is alive")
async def healthz() -> Response:
    """It is, if it answers."""
    return to_json({"alive": True})


@public.get(
    "/readyz",
    summary="Whether the service is ready",
    responses={503: {"description": "It is not; `why` says more"}},
)
def readyz(request: Request) -> Response:
    """Ready, if the store answers; and where a supervisor runs beside it, if a job would be run now."""
    state = request.app.state
    if not state.store_answers():
        return to_json({"ready": False, "hop": "broker", "why": "the store does not answer"}, 503)
    fault = state.readiness() if state.readiness is not None else None
    if fault is not None:
        return to_json({"ready": False, "hop": str(fault.hop), "why": fault.text}, 503)
    return to_json({"ready": True})


@router.get("/openapi.json", summary="This document")
def openapi(request: Request, caller: Known) -> Response:
    return to_json(request.app.openapi())


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.3em}h2{margin-top:2.5rem}"
    "dt{font-weight:600;margin-top:1rem}dd{margin-left:0}"
)


@router.get("/docs", response_class=Response, summary="This document, for people")
def docs(request: Request, caller: Known) -> Response:
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    headers = {"content-security-policy": policy}
    return Response(_page(request.app.openapi()), 200, headers, media_type="text/html")


def _page(document: dict[str, Any]) -> str:
    """The routes, group by group. It loads nothing from anywhere."""
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            groups.setdefault(operation["tags"][0], []).append(_entry(path, method, operation))
    parts = [f"<h2>{html.escape(tag)}</h2><dl>{''.join(some)}</dl>" for tag, some in groups.items()]
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        "<p>The whole of it, with every field, is <code>/openapi.json</code>.</p>"
        f"{''.join(parts)}</html>"
    )


def _entry(path: str, method: str, operation: dict[str, Any]) -> str:
    named = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    query = f"<br>Query: {', '.join(f'<code>{html.escape(n)}</code>' for n in named)}"
    text = html.escape(operation.get("description", "")).replace("\n\n", "<br>")
    return (
        f"<dt><code>{method.upper()} {html.escape(path)}</code> {html.escape(operation['summary'])}</dt>"
        f"<dd>{text}{query if named else ''}</dd>"
    )
