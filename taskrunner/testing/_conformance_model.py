"""Any story at all: the broker beside the model."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner.brokers.base import Broker
from taskrunner.testing._conformance_kit import BrokerKit
from taskrunner.testing.machine import compare_with_model


class ModelTests(BrokerKit):
    def test_it_agrees_with_the_model(self, fresh_broker: Callable[..., Broker]) -> None:
        compare_with_model(fresh_broker)
