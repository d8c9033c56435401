"""The service does what its own OpenAPI document says, whatever it is asked: schemathesis, in short."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from taskrunner import App
from taskrunner.access import ANYBODY
from taskrunner.api.service import unguarded
from taskrunner.brokers.memory import MemoryBroker

KEY = "Bearer right"


class Door:
    """Knows one key."""

    def __init__(self) -> None:
        self.service = unguarded(App(MemoryBroker()))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (b"authorization", KEY.encode()) in scope["headers"]:
            scope["state"] = {**scope.get("state", {}), "identity": ANYBODY}
        await self.service(scope, receive, send)


SCHEMA = schemathesis.openapi.from_asgi(
    "/openapi.json", Door(), headers={"Authorization": KEY}
).exclude(path="/v1/events")  # which goes on for ever


@pytest.mark.timeout(300)
@SCHEMA.parametrize()
@settings(
    max_examples=5,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_every_answer_is_one_of_those_that_the_document_names(case: Any) -> None:
    # Not every rule can be said in a schema: which options exclude each other, what a name may be.
    excluded: list[Any] = [positive_data_acceptance]
    if case.path == "/v1/jobs/batch":  # where what is wrong with an item is the item's own answer
        excluded.append(negative_data_rejection)
    case.call_and_validate(headers={"Authorization": KEY}, excluded_checks=excluded)
