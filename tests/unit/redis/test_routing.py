"""Where a cluster's commands go, and what is made of what comes back. No server is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from redis import exceptions
from redis.crc import key_slot

from taskrunner.brokers.redis import routing
from taskrunner.brokers.redis.address import Server
from taskrunner.brokers.redis.failures import Unreached, translate
from taskrunner.brokers.redis.routing import Router, Unit, units
from taskrunner.brokers.redis.slots import SlotMap, slot_of, slot_of_request
from taskrunner.errors import BrokerUnavailable

A, B, C = Server("a", 1), Server("b", 2), Server("c", 3)
KEYS = {A: "{ns:q}:meta", B: "{ns:r}:meta"}
SLOTS = {server: slot_of(key) for server, key in KEYS.items()}
MIDDLE = sum(SLOTS.values()) // 2
HALVES = [(0, MIDDLE), (MIDDLE + 1, 16383)]
OWNERS = sorted(SLOTS, key=SLOTS.__getitem__)
MAP = [
    [first, last, [s.host.encode(), s.port]]
    for (first, last), s in zip(HALVES, OWNERS, strict=True)
]
TO_A = ("GET", KEYS[A])
TO_B = ("EVALSHA", "sha", 1, KEYS[B], "x")

Play = Callable[[Server, Sequence[Any]], Any]
"""What a server answers to requests, or the error of its connection."""


class Cluster:
    """Servers that answer as told, and what each was asked."""

    def __init__(self, play: Play, slots: Any = MAP) -> None:
        self.router = Router([A])
        self.play = play
        self.slots = slots
        self.asked: list[tuple[Server, Sequence[Any]]] = []

    def exchange(self, *requests: Any) -> list[Any]:
        trip = self.router.trip(requests)
        try:
            batches = next(trip)
            while True:
                batches = trip.send(self._answers(batches))
        except StopIteration as end:
            return list(end.value)

    def _answers(self, batches: Mapping[Server, Sequence[Any]]) -> dict[Server, Any]:
        return {server: self._answer(server, batch) for server, batch in batches.items()}

    def _answer(self, server: Server, batch: Sequence[Any]) -> Any:
        self.asked.append((server, list(batch)))
        return [self.slots] if batch[0][:2] == ("CLUSTER", "SLOTS") else self.play(server, batch)

    def count(self, server: Server) -> int:
        return sum(asked == server for asked, _ in self.asked)


def echo(server: Server, batch: Sequence[Any]) -> list[Any]:
    return [(server.host, *request[:2]) for request in batch]


def is_away(reply: object) -> bool:
    return isinstance(reply, Unreached) and isinstance(translate(reply, "here"), BrokerUnavailable)


# -- slots


@pytest.mark.parametrize(
    "key", ["a", "{ns:q}:meta", "{ns}:queues", "x{}y", "{}{a}", "x{a", "{ä:ß}:job:1", "{a}{b}"]
)
def test_a_slot_is_what_the_field_computes(key: str) -> None:
    assert slot_of(key) == key_slot(key.encode())


def test_where_a_request_has_its_key() -> None:
    assert slot_of_request(TO_B) == slot_of(KEYS[B])
    assert slot_of_request(("EVAL", "text", 2, KEYS[B], "{ns:r}:nothing")) == slot_of(KEYS[B])
    assert slot_of_request(("HSCAN", KEYS[A], 0)) == slot_of(KEYS[A])
    assert slot_of_request(("MEMORY", "USAGE", KEYS[A])) == slot_of(KEYS[A])
    assert slot_of_request(("WAIT", 1, 100)) is None


def test_a_map_says_who_has_what_and_where_it_says_nothing_the_asked_one_is_meant() -> None:
    found = SlotMap.parse(
        [[0, 10, [b"", 7000], [b"replica", 1]], [11, 20, [None, 7001]], [30, 40, [b"?", 7002]]], A
    )
    assert found.owner(0) == Server("a", 7000)
    assert found.owner(20) == Server("a", 7001)
    assert found.owner(21) is None
    assert found.owner(35) is None
    assert found.servers == (Server("a", 7000), Server("a", 7001))


def test_what_has_no_key_stays_with_what_has_one() -> None:
    a, b = SLOTS[A], SLOTS[B]
    wait = ("WAIT", 1, 100)
    assert list(units([TO_A, wait, wait, TO_B, wait])) == [Unit(0, 3, a), Unit(3, 5, b)]
    assert list(units([("TIME",), TO_A, TO_B])) == [Unit(0, 2, a), Unit(2, 3, b)]
    assert list(units([("TIME",), ("PING",)])) == [Unit(0, 2, None)]


# -- trips


def test_each_server_gets_its_own_and_answers_come_back_in_order() -> None:
    cluster = Cluster(echo)
    for _ in range(2):
        assert cluster.exchange(TO_A, TO_B, ("WAIT", 1, 2), TO_A) == [
            ("a", "GET", KEYS[A]),
            ("b", "EVALSHA", "sha"),
            ("b", "WAIT", 1),
            ("a", "GET", KEYS[A]),
        ]
    asked = [(server, len(batch)) for server, batch in cluster.asked]
    assert asked == [(A, 1), (A, 2), (B, 2), (A, 2), (B, 2)]


def test_what_has_no_key_goes_to_anybody() -> None:
    cluster = Cluster(echo)
    assert {cluster.exchange(("PING",))[0][0] for _ in range(50)} == {"a", "b"}


def test_a_slot_that_nobody_has_is_away() -> None:
    cluster = Cluster(echo, slots=[MAP[OWNERS.index(A)]])
    reply, other = cluster.exchange(TO_B, TO_A)
    assert is_away(reply)
    assert other[0] == "a"


def test_moved_is_followed_with_all_that_goes_along_and_the_map_asked_for_anew() -> None:
    wait = ("WAIT", 1, 2)
    moved: list[Any] = []

    def play(server: Server, batch: Sequence[Any]) -> list[Any]:
        if server == A and batch[0] == TO_A and not moved:
            moved.append(exceptions.MovedError(f"{SLOTS[A]} b:2"))
            return [*moved, 1][: len(batch)]
        return echo(server, batch)

    cluster = Cluster(play)
    assert cluster.exchange(TO_A, wait) == [("b", "GET", KEYS[A]), ("b", "WAIT", 1)]
    assert [batch[0][0] for _, batch in cluster.asked] == ["CLUSTER", "GET", "CLUSTER", "GET"]


def test_ask_is_followed_once_and_asks_first() -> None:
    def play(server: Server, batch: Sequence[Any]) -> list[Any]:
        if server == A:
            return [exceptions.AskError(f"{SLOTS[A]} c:3")] * len(batch)
        return echo(server, batch)

    cluster = Cluster(play)
    assert cluster.exchange(TO_A, TO_A) == [("c", "GET", KEYS[A])] * 2
    assert cluster.asked[-1] == (C, [("ASKING",), TO_A, ("ASKING",), TO_A])
    assert cluster.count(C) == 1
    cluster.exchange(TO_A)
    assert cluster.count(A) == 3  # nothing was learnt: the slot is still here


def test_a_redirect_without_a_host_means_the_same_host() -> None:
    def play(server: Server, batch: Sequence[Any]) -> list[Any]:
        return [exceptions.MovedError(f"{SLOTS[A]} :9")] if server == A else echo(server, batch)

    assert Cluster(play).exchange(TO_A) == [("a", "GET", KEYS[A])]


def test_moved_by_one_that_is_no_master_any_more_is_told_as_an_outage_first() -> None:
    """A replica took its place, and may not have heard of everything."""
    cluster = Cluster(echo)
    cluster.exchange(TO_A)
    cluster.play = lambda server, batch: (
        [exceptions.MovedError(f"{SLOTS[A]} c:3")] if server == A else echo(server, batch)
    )
    cluster.slots = [[first, last, [b"c", 3] if m == [b"a", 1] else m] for first, last, m in MAP]
    (reply,) = cluster.exchange(TO_A)
    assert is_away(reply)
    assert "no longer a:1 but c:3" in str(reply)
    assert cluster.exchange(TO_A) == [("c", "GET", KEYS[A])]


def test_one_server_away_leaves_the_others_and_is_not_asked_at_once_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(routing, "monotonic", lambda: now[0])
    cluster = Cluster(echo)
    cluster.exchange(TO_A)

    def play(server: Server, batch: Sequence[Any]) -> Any:
        if server == A:
            now[0] += 1.0  # it took a second to find out
            return exceptions.ConnectionError("refused")
        return echo(server, batch)

    cluster.play = play
    for _ in range(3):
        away, other = cluster.exchange(TO_A, TO_B)
        assert is_away(away)
        assert "a:1: refused" in str(away)
        assert other[0] == "b"
    gets = [batch for server, batch in cluster.asked if server == A and batch == [TO_A]]
    assert len(gets) == 2  # once when all was well, once when it fell
    now[0] += 4.0
    cluster.play = echo
    assert cluster.exchange(TO_A, TO_B)[0][0] == "a"


def test_what_may_be_away_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(routing, "monotonic", lambda: now[0])
    cluster = Cluster(lambda server, batch: exceptions.ConnectionError("refused"))
    cluster.exchange(TO_A)
    now[0] += 10.0
    cluster.play = echo
    cluster.asked.clear()
    cluster.exchange(TO_A, TO_B)
    assert [server for server, _ in cluster.asked] == [B, A]


def test_an_error_of_one_command_is_its_reply() -> None:
    error = exceptions.TryAgainError("later")
    cluster = Cluster(lambda server, batch: [error] if server == A else echo(server, batch))
    assert cluster.exchange(TO_A, TO_B) == [error, ("b", "EVALSHA", "sha")]


def test_nobody_knows_the_cluster() -> None:
    cluster = Cluster(echo, slots=exceptions.ResponseError("cluster support disabled"))
    (reply,) = cluster.exchange(TO_A)
    assert is_away(reply)
    assert "no cluster: say redis://" in str(reply)


def test_a_command_that_is_sent_round_and_round_comes_back_as_away() -> None:
    def play(server: Server, batch: Sequence[Any]) -> list[Any]:
        return [exceptions.MovedError(f"{SLOTS[A]} {'b:2' if server == A else 'a:1'}")]

    (reply,) = Cluster(play).exchange(TO_A)
    assert is_away(reply)
    assert "server to server" in str(reply)
