"""Any story at all: the broker beside the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import Broker
from taskrunner.testing._conformance_kit import BrokerKit
from taskrunner.testing.machine import compare_with_model


class ModelTests(BrokerKit):
    @pytest.mark.timeout(
        300
    )  # thousands of calls, and where it fails, it looks for a shorter story
    def test_it_agrees_with_the_model(self, fresh_broker: Callable[..., Broker]) -> None:
        compare_with_model(fresh_broker)
