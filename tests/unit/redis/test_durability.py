"""What a server can confirm, and the conversation in which it does: no server here."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError

from taskrunner.brokers.base import Receipt
from taskrunner.brokers.redis.durability import Means, means, obstacle, unconfirmed
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.scripts import Scripts
from taskrunner.brokers.redis.submit import Submitting
from taskrunner.message import FSYNCED, REPLICATED, Message
from taskrunner.testing._conformance_kit import HEADER

KEYS = Keys("ns")


def answers(
    version: str = "7.2.4", replicas: int = 1, aof: str = "1", fsync: str | None = "everysec"
) -> list[Any]:
    """What a server says to the questions; `fsync` None: CONFIG is forbidden."""
    forbidden = ResponseError("NOPERM")
    appendonly = [b"appendonly", b"yes" if aof == "1" else b"no"]
    return [
        0,
        f"# Server\r\nredis_version:{version}\r\n".encode(),
        f"role:master\r\nconnected_slaves:{replicas}\r\n".encode(),
        f"aof_enabled:{aof}\r\n".encode(),
        forbidden if fsync is None else appendonly,
        forbidden if fsync is None else [b"appendfsync", fsync.encode()],
    ]


def test_what_a_server_says_is_read() -> None:
    assert means(answers()) == Means((7, 2), 1, True, "everysec")
    assert means(answers(fsync=None)) == Means((7, 2), 1, True, None)
    silent = [0, *[ResponseError("NOPERM")] * 5]
    assert means(silent) == Means(None, None, None, None)
    config_only = [0, *[ResponseError("NOPERM")] * 3, *answers(fsync="always")[4:]]
    assert means(config_only) == Means(None, None, True, "always")


@pytest.mark.parametrize(
    ("durability", "said", "words"),
    [
        ("default", {"replicas": 0, "aof": "0", "version": "6.2.0"}, None),
        (REPLICATED, {}, None),
        (REPLICATED, {"replicas": 0}, "no replica is connected"),
        (FSYNCED, {}, None),
        (FSYNCED, {"fsync": "no"}, None),
        (FSYNCED, {"fsync": None}, None),
        (FSYNCED, {"aof": "0"}, "no append-only file"),
        (FSYNCED, {"version": "7.0.15", "fsync": "always"}, None),
        (FSYNCED, {"version": "7.0.15"}, "version 7.0 with appendfsync everysec"),
        (FSYNCED, {"version": "7.0.15", "fsync": None}, "may not ask for its appendfsync"),
    ],
)
def test_what_stands_in_the_way(durability: str, said: dict[str, Any], words: str | None) -> None:
    found = obstacle(durability, means(answers(**said)))
    assert (found is None) if words is None else (words in (found or ""))


def message(job_id: str, durability: str, queue: str = "q") -> Message:
    return Message(job_id, queue, HEADER, b"body", durability=durability)


def submitting(*, has_parts: bool = False) -> Submitting:
    return Submitting(
        Scripts(KEYS, keep_ms=1000), KEYS, shown="here", within=0.5, has_parts=has_parts
    )


Conversation = Generator[Sequence[Sequence[Any]], list[Any], list[Receipt]]


def carry(talk: Conversation, *replies: list[Any]) -> tuple[list[list[Any]], list[Receipt]]:
    """Play the server: what was asked in each exchange, without arguments of scripts, and the
    receipts."""
    asked: list[list[Any]] = []
    turn: list[Any] | None = None
    left = list(replies)
    try:
        requests = next(talk)
        while True:
            asked.append([r[0] if str(r[0]).startswith("EVAL") else tuple(r) for r in requests])
            turn = left.pop(0)
            assert len(turn) == len(requests), asked[-1]
            requests = talk.send(turn)
    except StopIteration as end:
        assert not left
        return asked, end.value


FENCE = ("HSET", "{ns:q}:meta", "fence", 1)


def test_most_messages_ask_for_nothing() -> None:
    asked, receipts = carry(submitting().store([message("a", "default")]), [[]])
    assert asked == [["EVALSHA"]]
    assert receipts == [Receipt(True)]


@pytest.mark.parametrize(
    ("durability", "command", "good", "bad", "words"),
    [
        (REPLICATED, ("WAIT", 1, 500), 1, 0, "no replica had it within 0.5 s"),
        (FSYNCED, ("WAITAOF", 1, 0, 500), [1, 0], [0, 0], "not on the server's disk within 0.5 s"),
    ],
)
def test_it_is_stored_and_confirmed_in_one_exchange(
    durability: str, command: tuple[Any, ...], good: Any, bad: Any, words: str
) -> None:
    for answer in (good, bad, ResponseError("ERR no such thing")):
        talk = submitting().store([message("a", durability)])
        asked, (receipt,) = carry(talk, answers(), [[], 0, answer])
        assert asked[1] == ["EVALSHA", FENCE, command]
        assert receipt.accepted
        if answer is good:
            assert receipt == Receipt(True)
        elif answer is bad:
            assert words in (receipt.unconfirmed or "")
        else:
            assert "the server answered: ERR no such thing" in (receipt.unconfirmed or "")


def test_nothing_is_stored_of_what_cannot_be_confirmed() -> None:
    sent = [message("a", REPLICATED), message("b", "default"), message("c", FSYNCED)]
    asked, receipts = carry(submitting().store(sent), answers(replicas=0), [[], 0, [1, 0]])
    assert asked[1] == ["EVALSHA", FENCE, ("WAITAOF", 1, 0, 500)]
    assert receipts == [
        Receipt(False, unconfirmed="no replica is connected"),
        Receipt(True),
        Receipt(True),
    ]
    asked, receipts = carry(submitting().store(sent[:1]), answers(replicas=0))
    assert len(asked) == 1
    assert not receipts[0].accepted


def test_each_of_a_bulk_gets_its_own_answer() -> None:
    sent = [message("a", REPLICATED), message("b", FSYNCED), message("c", "default")]
    sent += [message("d", REPLICATED, "r"), message("taken", FSYNCED, "r")]
    talk = submitting().store(sent)
    asked, receipts = carry(talk, answers(), [[], [2], 0, [1, 0], 0])
    assert asked[1][2:] == [FENCE, ("WAITAOF", 1, 0, 500), ("WAIT", 1, 500)]
    by_id = dict(zip((m.id for m in sent), receipts, strict=True))
    assert by_id["c"] == Receipt(True)
    assert by_id["taken"] == Receipt(False, duplicate_of="taken")
    assert {i for i, r in by_id.items() if r.unconfirmed} == {"a", "d"}


def test_a_script_that_is_not_known_takes_the_whole_exchange_with_it() -> None:
    talk = submitting().store([message("a", REPLICATED)])
    missing = [NoScriptError("NOSCRIPT"), 0, 1]
    asked, receipts = carry(talk, answers(), missing, [[], 0, 1])
    assert asked[1:] == [["EVALSHA", FENCE, ("WAIT", 1, 500)], ["EVAL", FENCE, ("WAIT", 1, 500)]]
    assert receipts == [Receipt(True)]


def test_a_server_that_syncs_first_is_asked_again_whether_it_still_does() -> None:
    old = answers("7.0.15", fsync="always")
    config = [[b"appendonly", b"yes"], [b"appendfsync", b"always"]]
    asked, receipts = carry(submitting().store([message("a", FSYNCED)]), old, [[], 0, *config])
    assert [request[0] for request in asked[1][1:]] == ["HSET", "CONFIG", "CONFIG"]
    assert receipts == [Receipt(True)]
    config[1] = [b"appendfsync", b"everysec"]
    _, (receipt,) = carry(submitting().store([message("a", FSYNCED)]), old, [[], 0, *config])
    assert "another appendfsync" in (receipt.unconfirmed or "")


def test_a_write_that_is_refused_confirms_nothing() -> None:
    talk = submitting().store([message("a", REPLICATED)])
    _, (receipt,) = carry(talk, answers(), [[], ResponseError("OOM"), 5])
    assert receipt.accepted
    assert "OOM" in (receipt.unconfirmed or "")


def test_in_a_cluster_each_queue_asks_its_own_server() -> None:
    sent = [message("a", REPLICATED), message("b", REPLICATED, "r"), message("c", "default", "s")]
    talk = submitting(has_parts=True).store(sent)
    first = [*answers(replicas=1), *answers(replicas=1)]
    asked, receipts = carry(talk, first, [[], [], [], 0, 1, 0, 0])
    assert asked[1][3:] == [
        FENCE,
        ("WAIT", 1, 250),
        ("HSET", "{ns:r}:meta", "fence", 1),
        ("WAIT", 1, 250),
    ]
    assert [receipt.unconfirmed is None for receipt in receipts] == [True, False, True]


def test_unconfirmed_says_nothing_of_what_was_not_asked() -> None:
    assert unconfirmed([FENCE], [0], within_ms=5) == {}
