"""Other contents in the place of what a record holds: for whoever changes keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskrunner.brokers.base import Contents, JobKey, JobRecord, Note, OutcomeKind, Rewrite
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store, every_page
from taskrunner.testing._conformance_submit import bring_to

SHORT, LONG = b"short", b"long" * 100


def record_of(store: Store, job_id: str = "a") -> JobRecord:
    (record,) = store.broker.get([JobKey("q", job_id)])
    assert record is not None
    return record


def rewrite(store: Store, after: Contents, before: Contents | None = None) -> bool | None:
    before = before or Contents.of(record_of(store))
    return store.broker.rewrite([Rewrite("q", "a", before, after)])[0]


def full(store: Store) -> Contents:
    """A job that has failed twice, reported progress and succeeded holds all there can be."""
    store.enqueue("a")
    store.join()
    for kind in (OutcomeKind.RETRY, OutcomeKind.RETRY, OutcomeKind.SUCCEEDED):
        (delivery,) = store.fetch(1)
        noted = Note("q", "a", delivery.number, 1, 0.0, b"progress")
        assert store.broker.note(delivery.node, [noted]) == [True]
        error = None if kind is OutcomeKind.SUCCEEDED else b"error"
        result = b"result" if kind is OutcomeKind.SUCCEEDED else None
        store.settle(delivery, kind, error=error, result=result)
    return Contents.of(record_of(store))


class ContentsTests(BrokerKit):
    @pytest.mark.parametrize("state", sorted(State))
    def test_other_contents_change_nothing_else(self, store: Store, state: State) -> None:
        bring_to(store, state)
        before = record_of(store)
        after = Contents(b"other", before.progress, before.result, (b"one",) * len(before.errors))
        assert rewrite(store, after) is True
        assert record_of(store) == replace(before, wire=b"other", errors=after.errors)
        assert [key.id for key in every_page(store.broker, "q", state)] == ["a"]

    @pytest.mark.parametrize("sizes", [(LONG, SHORT), (SHORT, LONG), (LONG, LONG), (SHORT, SHORT)])
    def test_contents_of_any_length(self, store: Store, sizes: tuple[bytes, bytes]) -> None:
        held = full(store)
        assert held[1:] == (b"progress", b"result", (b"error", b"error"))
        for value in sizes:
            after = Contents(value, value, value, (value, value + b"!"))
            assert rewrite(store, after) is True
            assert Contents.of(record_of(store)) == after

    def test_what_holds_something_else_by_now_is_left_alone(self, store: Store) -> None:
        held = full(store)
        other = Contents(b"other", b"other", b"other", (b"other", b"other"))
        for stale in (
            held._replace(wire=b"stale"),
            held._replace(progress=b"stale"),
            held._replace(progress=None),
            held._replace(result=b"stale"),
            held._replace(result=None),
            held._replace(errors=()),
            held._replace(errors=(b"error", b"stale")),
        ):
            assert rewrite(store, other, stale) is False
        assert Contents.of(record_of(store)) == held

    def test_a_repeat_is_known(self, store: Store) -> None:
        held = full(store)
        other = Contents(b"other", b"other", b"other", (b"other", b"other"))
        assert [rewrite(store, other, held) for _ in range(2)] == [True, True]

    def test_each_is_answered_for_itself(self, store: Store) -> None:
        store.enqueue("a", "c")
        found = Contents.of(record_of(store))
        other = Contents(LONG, None, None, ())
        changes = [
            Rewrite("q", "a", found, other),
            Rewrite("q", "b", found, other),
            Rewrite("elsewhere", "a", found, other),
            Rewrite("q", "c", other, found._replace(wire=b"never")),
        ]
        assert store.broker.rewrite(changes) == [True, None, None, False]
        assert record_of(store).wire == LONG

    def test_a_job_is_delivered_and_ends_with_its_other_contents(self, store: Store) -> None:
        store.enqueue("a", call="first")
        rewrite(store, Contents(LONG, None, None, ()))
        store.join()
        (delivery,) = store.fetch(1)
        assert delivery.wire == LONG
        rewrite(store, Contents(SHORT, None, None, ()))
        store.settle(delivery, OutcomeKind.RETRY)
        (again,) = store.fetch(1)
        assert again.wire == SHORT
        store.settle(again, OutcomeKind.SUCCEEDED, retention=0.0)
        assert store.broker.get([JobKey("q", "a")]) == [None]
        held = Contents(SHORT, None, None, ())
        assert store.broker.rewrite([Rewrite("q", "a", held, held)]) == [None]
