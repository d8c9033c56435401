"""Records: small values of the namespace, by kind and id."""

from __future__ import annotations

from taskrunner.brokers.base import Record, Records
from taskrunner.testing._conformance_kit import BrokerKit, Store


def ids(store: Store, kind: str = "k") -> list[str]:
    return [record.id for record in store.broker.records(kind, limit=1000).records]


class RecordTests(BrokerKit):
    def test_what_is_put_is_found_under_its_kind(self, store: Store) -> None:
        store.broker.put_record("k", "a", b"\x00\xff")
        store.broker.put_record("other", "b", b"2")
        assert store.broker.records("k") == Records([Record("a", b"\x00\xff")], "")
        assert store.broker.records("other") == Records([Record("b", b"2")], "")
        assert store.broker.records("nothing") == Records([], "")

    def test_a_value_takes_the_place_of_the_one_before(self, store: Store) -> None:
        store.broker.put_record("k", "a", b"1")
        store.broker.put_record("k", "a", b"2")
        assert store.broker.records("k").records == [Record("a", b"2")]

    def test_what_is_removed_is_gone_and_may_be_removed_again(self, store: Store) -> None:
        for record_id in ("a", "b"):
            store.broker.put_record("k", record_id, b"1", ttl=50.0 if record_id == "a" else None)
        for _ in range(2):
            store.broker.remove_record("k", "a")
            store.broker.remove_record("nothing", "a")
        assert ids(store) == ["b"]

    def test_a_record_lapses(self, store: Store) -> None:
        store.broker.put_record("k", "short", b"1", ttl=10.0)
        store.broker.put_record("k", "long", b"1", ttl=100.0)
        store.broker.put_record("k", "ever", b"1")
        store.later(9.0)
        assert ids(store) == ["ever", "long", "short"]
        store.later(2.0)
        assert ids(store) == ["ever", "long"]
        store.later(1000.0)
        assert ids(store) == ["ever"]

    def test_who_puts_it_again_says_anew_how_long(self, store: Store) -> None:
        for record_id in ("longer", "ever"):
            store.broker.put_record("k", record_id, b"1", ttl=10.0)
        store.broker.put_record("k", "short", b"1")
        store.later(5.0)
        store.broker.put_record("k", "longer", b"2", ttl=10.0)
        store.broker.put_record("k", "ever", b"2")
        store.broker.put_record("k", "short", b"2", ttl=1.0)
        store.later(7.0)
        assert ids(store) == ["ever", "longer"]
        store.later(7.0)
        assert ids(store) == ["ever"]

    def test_slices_come_in_the_order_of_the_ids(self, store: Store) -> None:
        sent = [f"{n:03}" for n in range(25)]
        for record_id in reversed(sent):
            store.broker.put_record("k", record_id, record_id.encode())
        found: list[str] = []
        cursor, slices = "", 0
        while slices == 0 or cursor:
            page = store.broker.records("k", cursor, limit=10)
            found += [record.id for record in page.records]
            assert all(record.value == record.id.encode() for record in page.records)
            cursor, slices = page.cursor, slices + 1
        assert found == sent
        assert slices == 3

    def test_what_stays_is_seen_once_while_others_come_and_go(self, store: Store) -> None:
        stays = [f"{n:02}" for n in range(0, 40, 2)]
        goes = [f"{n:02}" for n in range(1, 40, 2)]
        for record_id in stays + goes:
            store.broker.put_record("k", record_id, b"", ttl=50.0)
        found: list[str] = []
        cursor = "00"
        while cursor:
            page = store.broker.records("k", cursor, limit=7)
            found += [record.id for record in page.records]
            cursor = page.cursor
            for record_id in goes[:5]:
                store.broker.remove_record("k", record_id)
            store.broker.put_record("k", f"new {len(goes)}", b"")
            goes = goes[5:]
        assert [record_id for record_id in found if record_id in stays] == stays
        assert len(found) == len(set(found))

    def test_many_that_lapse_leave_nothing_in_the_way(self, store: Store) -> None:
        for n in range(300):
            store.broker.put_record("k", f"{n:03}", b"x", ttl=1.0)
        store.later(2.0)
        store.broker.put_record("k", "new", b"x", ttl=100.0)
        found, cursor = [], "0"
        while cursor:
            page = store.broker.records("k", cursor, limit=50)
            found += page.records
            cursor = page.cursor
        assert found == [Record("new", b"x")]

    # -- only where nobody else was quicker

    def test_a_new_one_only_where_there_is_none(self, store: Store) -> None:
        put = store.broker.put_record
        assert put("k", "a", b"1", expect=b"")
        assert put("k", "a", b"1", expect=b""), "a repeat"
        assert not put("k", "a", b"2", expect=b"")
        assert store.broker.records("k").records == [Record("a", b"1")]
        assert put("k", "a", b"2")

    def test_a_change_only_of_what_is_known(self, store: Store) -> None:
        put = store.broker.put_record
        assert not put("k", "a", b"2", expect=b"1")
        put("k", "a", b"1")
        assert not put("k", "a", b"2", expect=b"0")
        assert put("k", "a", b"2", expect=b"1")
        assert put("k", "a", b"2", expect=b"1"), "a repeat"
        assert store.broker.records("k").records == [Record("a", b"2")]

    def test_what_has_lapsed_is_not_there(self, store: Store) -> None:
        store.broker.put_record("k", "a", b"1", ttl=10.0)
        store.later(11.0)
        assert not store.broker.put_record("k", "a", b"2", expect=b"1")
        assert store.broker.put_record("k", "a", b"2", expect=b"")

    def test_removed_only_where_it_is_as_known(self, store: Store) -> None:
        store.broker.put_record("k", "a", b"1")
        assert not store.broker.remove_record("k", "a", expect=b"0")
        assert ids(store) == ["a"]
        for _ in range(2):
            assert store.broker.remove_record("k", "a", expect=b"1")
        assert ids(store) == []
        assert store.broker.remove_record("k", "a")
