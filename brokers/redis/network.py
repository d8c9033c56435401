"""The kind of connections that an address asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from taskrunner.brokers.redis.address import CLUSTER, SENTINEL, Address
from taskrunner.brokers.redis.aio import AsyncConnections, AsyncOneServer
from taskrunner.brokers.redis.cluster import AsyncCluster, Cluster
from taskrunner.brokers.redis.connection import Connections, OneServer
from taskrunner.brokers.redis.sentinel import AsyncSentinels, Sentinels

_KINDS: Final[Mapping[str, Callable[[Address], Connections]]] = {
    "": OneServer,
    CLUSTER: Cluster,
    SENTINEL: Sentinels,
}
_ASYNC_KINDS: Final[Mapping[str, Callable[[Address], AsyncConnections]]] = {
    "": AsyncOneServer,
    CLUSTER: AsyncCluster,
    SENTINEL: AsyncSentinels,
}


def connections(address: Address) -> Connections:
    """Not connected yet."""
    return _KINDS[address.kind](address)


def async_connections(address: Address) -> AsyncConnections:
    """Not connected yet."""
    return _ASYNC_KINDS[address.kind](address)
