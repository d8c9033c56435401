"""A private Redis Cluster.

    with RedisCluster() as cluster:
        App(cluster.url)                     # redis+cluster://127.0.0.1:PORT,…
        cluster.owner("orders").kill()       # the server that has the queue's slot
        with cluster.moving("orders", cluster.nodes[0]) as move:
            move.some_keys()                 # some are here now, some are there

All servers live on free ports and in temporary folders, and end with the block.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from taskrunner.testing.redis_server import RedisServer, Tls
from taskrunner.testing.waiting import eventually

SLOTS: Final = 16384
BUS: Final = 10_000
"""What a server adds to its port for the port on which it talks to the others."""
NODE_TIMEOUT_MS: Final = 1000
"""Silence after which the others call a server dead, and its replica takes over."""
_PATIENCE_S: Final = 30.0


class ClusterNode(RedisServer):
    """One server of a cluster. It comes back under the id that it had."""

    @property
    def id(self) -> str:
        with contextlib.closing(self.client()) as client:
            return _text(_asked(client, "CLUSTER MYID"))

    def ask(self, *command: Any) -> Any:
        """Its own answer to a command. Raises what redis-py raises."""
        with contextlib.closing(self.client()) as client:
            return _asked(client, *command)

    def _new_port(self) -> int:
        return free_port_with_bus()


class RedisCluster:
    """`masters` servers that share the slots evenly, each with as many `replicas`.

    With `appendonly` they keep every write. With `full_coverage` a cluster with a dead server, as
    by default, serves nothing at all; without, what the others have. `tls` is for clients and among
    themselves; its certificate must name 127.0.0.1. Raises FileNotFoundError
    where no redis-server is installed.
    """

    def __init__(
        self,
        *,
        masters: int = 3,
        replicas: int = 0,
        appendonly: bool = False,
        full_coverage: bool = False,
        tls: Tls | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)]
        options += ["--cluster-require-full-coverage", "yes" if full_coverage else "no"]
        options += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
        options += ["--tls-cluster", "yes"] if tls else []
        self._tls = tls
        self._make: Callable[[], ClusterNode] = partial(
            ClusterNode, appendonly=appendonly, tls=tls, extra=[*options, *extra]
        )
        self._counts = masters, replicas
        self._ends = contextlib.ExitStack()
        self.nodes: list[ClusterNode] = []
        """the masters it begins with"""
        self.replicas: list[ClusterNode] = []
        """as many times as many, those of the first master first"""

    def __enter__(self) -> RedisCluster:
        masters, replicas = self._counts
        with contextlib.ExitStack() as ends:
            for servers, count in ((self.nodes, masters), (self.replicas, masters * replicas)):
                for _ in range(count):
                    node = self._make()
                    ends.enter_context(node)
                    servers.append(node)
            self._join()
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._ends.close()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        if self._tls is not None:
            return f"rediss+cluster://{hosts}?ssl_ca_certs={self._tls.ca}"
        return f"redis+cluster://{hosts}"

    def owner(self, queue: str, *, namespace: str = "taskrunner") -> ClusterNode:
        """The server that has a queue now."""
        return self.of_slot(queue_slot(queue, namespace))

    def of_slot(self, slot: int) -> ClusterNode:
        """The server that has a slot. Raises LookupError where none has."""
        for first, last, node in self._owners():
            if first <= slot <= last:
                return node
        raise LookupError(f"no server has slot {slot}")

    def queues_by_owner(self, *, namespace: str = "taskrunner") -> dict[int, str]:
        """A queue for each of `nodes`, by its position: names of which each has one."""
        owners = self._owners()
        found: dict[int, str] = {}
        for queue in (f"queue-{n}" for n in range(1000)):
            slot = queue_slot(queue, namespace)
            owner = next(node for first, last, node in owners if first <= slot <= last)
            found.setdefault(self.nodes.index(owner), queue)
            if len(found) == len(self.nodes):
                break
        return dict(sorted(found.items()))

    @contextlib.contextmanager
    def moving(
        self, queue: str, to: ClusterNode, *, namespace: str = "taskrunner"
    ) -> Iterator[Move]:
        """The slot of a queue is on its way to another server until the block ends."""
        move = Move(self, queue_slot(queue, namespace), to)
        move.begin()
        yield move
        move.finish()

    def wait_until_ok(self) -> None:
        """Wait until every server that runs finds its cluster in order."""
        eventually(self._is_ok, timeout=_PATIENCE_S, message="the cluster agrees")

    def flush(self) -> None:
        """Remove every key."""
        for node in self.nodes:
            node.ask("FLUSHALL")

    def _join(self) -> None:
        for at, node in enumerate(self.nodes):
            first = at * SLOTS // len(self.nodes)
            last = (at + 1) * SLOTS // len(self.nodes) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for node in self._all()[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        eventually(self._all_are_known, timeout=_PATIENCE_S, message="the servers meet")
        for at, replica in enumerate(self.replicas):
            master = self.nodes[at * len(self.nodes) // len(self.replicas)]
            replica.ask("CLUSTER", "REPLICATE", master.id)
        self.wait_until_ok()
        for replica in self.replicas:
            replica.wait_for(
                lambda client: client.info("replication")["master_link_status"] == "up"
            )

    def _owners(self) -> list[tuple[int, int, ClusterNode]]:
        """The cluster's own view: first slot, last slot, master."""
        by_port = {node.port: node for node in self._all()}
        return [(first, last, by_port[port]) for first, last, port in _masters(self._alive()[0])]

    def _all(self) -> list[ClusterNode]:
        return [*self.nodes, *self.replicas]

    def _alive(self) -> list[ClusterNode]:
        return [node for node in self._all() if node.is_running]

    def _all_are_known(self) -> bool:
        return all(_known(node) == len(self._all()) for node in self._all())

    def _is_ok(self) -> bool:
        alive = self._alive()
        try:
            states = [_info(node)["cluster_state"] for node in alive]
            maps = [sorted(_masters(node)) for node in alive]
        except (RedisError, OSError):
            return False
        return set(states) == {"ok"} and all(found == maps[0] for found in maps)


class Move:
    """A slot on its way from one server to another, as `redis-cli --cluster reshard` does it."""

    def __init__(self, cluster: RedisCluster, slot: int, to: ClusterNode) -> None:
        self.slot = slot
        self.to = to
        self.of = cluster.of_slot(slot)
        self._cluster = cluster

    def begin(self) -> None:
        self.to.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.of.id)
        self.of.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.to.id)

    def some_keys(self, count: int = 1) -> int:
        """Move up to so many keys; how many there were."""
        keys = self.of.ask("CLUSTER", "GETKEYSINSLOT", self.slot, count)
        if keys:
            place = ["127.0.0.1", self.to.port, "", 0, 5000, "KEYS"]
            self.of.ask("MIGRATE", *place, *keys)
        return len(keys)

    def finish(self) -> None:
        """Move what is left, and tell everybody whose the slot is."""
        while self.some_keys(100):
            pass
        for node in (self.to, self.of, *self._cluster.nodes):
            if node.is_running:
                node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", self.to.id)


def queue_slot(queue: str, namespace: str = "taskrunner") -> int:
    """The slot in which all keys of a queue are."""
    return key_slot(f"{namespace}:{queue}".encode())


def free_port_with_bus() -> int:
    """A port that was free a moment ago, together with the one for the cluster's bus; both are below
    those that are given to outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_768 - BUS)
        if _is_free(port) and _is_free(port + BUS):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _info(node: ClusterNode) -> dict[str, str]:
    lines = _text(node.ask("CLUSTER", "INFO")).split()
    return dict(line.split(":", 1) for line in lines)


def _known(node: ClusterNode) -> int:
    return int(_info(node)["cluster_known_nodes"])


def _masters(node: ClusterNode) -> list[tuple[int, int, int]]:
    return [(first, last, master[1]) for first, last, master, *_ in node.ask("CLUSTER", "SLOTS")]


def _asked(client: Redis, *command: Any) -> Any:
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


def _text(answer: Any) -> str:
    found: str = answer.decode() if isinstance(answer, bytes) else answer
    return found


__all__: Sequence[str] = ("ClusterNode", "Move", "RedisCluster", "queue_slot")
