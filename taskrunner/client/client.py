"""The client itself: one connection pool for threads, one for each event loop."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, Unpack

import httpx

from taskrunner._version import __version__
from taskrunner.client.answers import error_of
from taskrunner.client.job import RemoteJob
from taskrunner.client.limits import RemoteLimits
from taskrunner.client.looks import RemoteLooks
from taskrunner.client.schedules import RemoteSchedules
from taskrunner.client.words import Call, path_of, rule_said, submission
from taskrunner.errors import BrokerUnavailable, OptionError
from taskrunner.options import OptionArguments, Seconds

ATTEMPTS: Final = 4
FIRST_PAUSE_S: Final = 0.1
_WRONG_STATE: Final = 409


class HttpClient(RemoteLooks):
    """Submits and looks through the HTTP service, with the method names of `App`.

    `key` is an API key or a token; `timeout` seconds are for one answer, without what is waited on
    purpose; `options` are those of `httpx.Client` (`verify`, `cert`, `proxy`, …). Thread-safe. Every
    method raises the errors of `App`: BrokerUnavailable where the service or its store is away, after
    a few attempts where a repeat can do no harm; NotAuthenticated, NotAllowed and TooManyRequests
    besides.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 30.0, **options: Any
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise OptionError(f"url={url!r}: expected http://… or https://…")
        self._timeout = timeout
        headers = {"user-agent": f"taskrunner/{__version__}"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        self._options = {**options, "base_url": url, "headers": headers, "timeout": timeout}
        self._client: httpx.Client | None = None
        self._async_clients: weakref.WeakKeyDictionary[Any, httpx.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )
        self.schedules = RemoteSchedules(self)
        self.limits = RemoteLimits(self)
        self._url = url

    def __repr__(self) -> str:
        return f"<HttpClient {self._url}>"

    # -- submit

    def enqueue(
        self,
        task: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[OptionArguments],
    ) -> RemoteJob:
        """Submit a job of a task by its name. With an `idempotency_key` the same call counts once a
        day, and is repeated where the answer was lost."""
        return self._job(self.send(_submit(task, args, kwargs, options, idempotency_key)))

    async def aenqueue(
        self,
        task: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[OptionArguments],
    ) -> RemoteJob:
        """`enqueue`, from asyncio."""
        return self._job(await self.asend(_submit(task, args, kwargs, options, idempotency_key)))

    def message(
        self,
        task: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[OptionArguments],
    ) -> Mapping[str, Any]:
        """One of those that `submit` and `enqueue_many` take."""
        return submission(task, args, kwargs, options)

    def submit(self, message: Mapping[str, Any]) -> RemoteJob:
        """Submit one job made by `message`. Raises as `enqueue`."""
        return self._job(self.send(Call("POST", path_of("jobs"), dict(message))))

    async def asubmit(self, message: Mapping[str, Any]) -> RemoteJob:
        """`submit`, from asyncio."""
        return self._job(await self.asend(Call("POST", path_of("jobs"), dict(message))))

    def enqueue_many(self, messages: Iterable[Mapping[str, Any]]) -> list[RemoteJob]:
        """Submit many jobs, each made by `message`, 10,000 at most in one request; one handle for
        each, in order: `job.accepted`, `job.rejection`."""
        return self._jobs(self.send(_submit_many(messages)))

    async def aenqueue_many(self, messages: Iterable[Mapping[str, Any]]) -> list[RemoteJob]:
        """`enqueue_many`, from asyncio."""
        return self._jobs(await self.asend(_submit_many(messages)))

    def _job(self, said: Mapping[str, Any]) -> RemoteJob:
        return RemoteJob(self, said["id"], said["queue"])

    def _jobs(self, said: Mapping[str, Any]) -> list[RemoteJob]:
        return [self._item(item) for item in said["items"]]

    def _item(self, item: Mapping[str, Any]) -> RemoteJob:
        if item["status"] == 202:
            return self._job(item)
        refused = error_of(item["status"], item["problem"], {})
        return RemoteJob(self, item.get("id") or "", None, rejection=refused)

    # -- change

    def bulk(
        self,
        action: str,
        filter: Mapping[str, Any],  # noqa: A002  as the service has it
        *,
        dry_run: bool = False,
        cursor: str = "",
        delay: Seconds | None = None,
        eta: datetime | None = None,
    ) -> dict[str, Any]:
        """One slice of doing something to all jobs that a filter means; while the answer's `cursor`
        is not empty, ask again with it. Raises OptionError."""
        return dict(self.send(_bulk(action, filter, dry_run, cursor, delay=delay, eta=eta)))

    async def abulk(
        self,
        action: str,
        filter: Mapping[str, Any],  # noqa: A002
        *,
        dry_run: bool = False,
        cursor: str = "",
        delay: Seconds | None = None,
        eta: datetime | None = None,
    ) -> dict[str, Any]:
        """`bulk`, from asyncio."""
        return dict(await self.asend(_bulk(action, filter, dry_run, cursor, delay=delay, eta=eta)))

    # -- over the wire

    def send(self, call: Call) -> Any:
        """Make a request; what was answered, None where the job's state did not allow it."""
        if self._client is None:
            self._client = httpx.Client(**self._options)
        for attempt in range(ATTEMPTS):
            try:
                return _answered(self._client.request(**self._request(call)))
            except httpx.TransportError as error:
                pause = _pause(call, error, attempt)
            threading.Event().wait(pause)
        raise AssertionError("the last attempt raises")

    async def asend(self, call: Call) -> Any:
        """`send`, from asyncio."""
        client = self._async_client()
        for attempt in range(ATTEMPTS):
            try:
                return _answered(await client.request(**self._request(call)))
            except httpx.TransportError as error:
                pause = _pause(call, error, attempt)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt raises")

    def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        found = self._async_clients.get(loop)
        if found is None:
            found = self._async_clients[loop] = httpx.AsyncClient(**self._options)
        return found

    def _request(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = {"method": call.method, "url": call.path, "params": call.query}
        found["headers"] = dict(call.headers)
        found["timeout"] = self._timeout + call.waits
        if call.body is not None:
            found["content"] = json.dumps(call.body).encode()
            found["headers"]["content-type"] = "application/json"
        return found

    # -- the end

    def close(self) -> None:
        """Let go of connections. The next call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """The same for the connections of this event loop."""
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _submit(
    task: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    options: Any,
    key: str | None,
) -> Call:
    headers = {} if key is None else {"idempotency-key": key}
    body = submission(task, args, kwargs, options)
    return Call("POST", path_of("jobs"), body, headers=headers, is_repeatable=key is not None)


def _submit_many(messages: Iterable[Mapping[str, Any]]) -> Call:
    return Call("POST", path_of("jobs", "batch"), {"jobs": list(messages)})


def _bulk(
    action: str,
    meant: Mapping[str, Any],
    dry_run: bool,
    cursor: str,
    **time: Seconds | datetime | None,
) -> Call:
    body = {"action": action, "filter": dict(meant), "dry_run": dry_run, "cursor": cursor}
    return Call("POST", path_of("jobs", "bulk"), {**body, **rule_said(time)})


def _answered(response: httpx.Response) -> Any:
    """Raises what the service says went wrong."""
    said: Any = None
    if response.content:
        try:
            said = response.json()
        except ValueError:
            said = None
    if response.is_success:
        return said if response.content else {}
    if response.status_code == _WRONG_STATE and _kind(said) == "WrongState":
        return None
    raise error_of(response.status_code, said, response.headers)


def _kind(said: Any) -> str:
    return str(said.get("type", "")).rpartition(":")[2] if isinstance(said, dict) else ""


def _pause(call: Call, error: httpx.TransportError, attempt: int) -> float:
    """Seconds until the next attempt. Raises BrokerUnavailable where there is none: the last, or where
    the call may have been carried out and must not be twice."""
    never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
    if attempt + 1 >= ATTEMPTS or not (never_sent or call.is_repeatable):
        raise BrokerUnavailable(f"the service does not answer: {error}") from error
    return float(FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5))
