"""Every exception of redis-py becomes one of ours; this lists which."""

from __future__ import annotations

import inspect

import pytest
from redis import exceptions

from taskrunner.brokers.redis.failures import FAILURES, translate
from taskrunner.errors import BrokerError, BrokerFull, BrokerUnavailable

AWAY = [
    exceptions.AuthenticationError("WRONGPASS invalid"),
    exceptions.AuthorizationError("no"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.ClusterDownError("CLUSTERDOWN the cluster is down"),
    exceptions.ConnectionError("refused"),
    exceptions.MasterDownError("MASTERDOWN link with master is down"),
    exceptions.MaxConnectionsError("too many"),
    exceptions.NoPermissionError("NOPERM this user has no permissions"),
    exceptions.ResponseError("The user executing the script can't run this command script: 0a"),
    exceptions.ReadOnlyError("you can't write against a read only replica"),
    exceptions.ResponseError("BUSY Redis is busy running a script"),
    exceptions.ResponseError("MISCONF Redis is configured to save snapshots"),
    exceptions.ResponseError("NOREPLICAS not enough good replicas to write"),
    exceptions.TimeoutError("timeout"),
    exceptions.TryAgainError("TRYAGAIN"),
    ConnectionResetError("reset"),
    TimeoutError("timed out"),
    OSError("no route to host"),
]

OF_ITS_CLIENTS = {
    "ChildDeadlockedError",
    "CrossSlotTransactionError",
    "IncorrectPolicyType",
    "InvalidPipelineStack",
    "RedisClusterException",
    "SlotNotCoveredError",
}
"""Raised by its pools, pipelines and cluster client only, none of which is used."""


@pytest.mark.parametrize("error", AWAY, ids=lambda error: f"{type(error).__name__} {error}"[:30])
def test_these_mean_that_it_is_away(error: Exception) -> None:
    found = translate(error, "redis://cache:6379")
    assert type(found) is BrokerUnavailable
    assert "redis://cache:6379" in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        exceptions.ResponseError(
            "Error running script: @user_script:8: -OOM command not allowed when used memory > "
        ),
    ],
)
def test_these_mean_that_it_is_full(error: Exception) -> None:
    assert type(translate(error, "here")) is BrokerFull


def test_anything_else_is_an_error_of_the_broker() -> None:
    assert type(translate(exceptions.ResponseError("ERR wrong type"), "here")) is BrokerError


def test_nothing_of_redis_py_gets_through() -> None:
    raised = [
        found
        for _, found in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(found, Exception) and found.__module__ == exceptions.__name__
    ]
    assert len(raised) > 20
    through = {found.__name__ for found in raised if not issubclass(found, FAILURES)}
    assert through <= OF_ITS_CLIENTS
