from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest

from taskrunner.access import Identity, KeyRing, KeyStore, Kind, Scope, StoredKey
from taskrunner.access.identity import patterns
from taskrunner.access.keyring import FRESH_S
from taskrunner.access.keys import Shown
from taskrunner.access.keystore import KIND
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import KeyNotFound, MessageError, NotAuthenticated, OptionError
from taskrunner.testing.clock import FakeClock

PEPPER = "p" * 32


class Counting(MemoryBroker):
    """Counts round trips."""

    asked = 0

    def records(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        self.asked += 1
        return super().records(*args, **kwargs)  # type: ignore[arg-type]


class Door:
    """A store, and a service that knows its keys."""

    def __init__(self, pepper: str | None = PEPPER) -> None:
        self.clock = FakeClock()
        self.broker = Counting(clock=self.clock)
        self.store = KeyStore(self.broker, pepper=pepper)
        self.ring = KeyRing(self.store, clock=self.clock)

    def opens(self, text: str) -> bool:
        try:
            assert self.ring.quick(text) or self.ring.look(text)
        except NotAuthenticated:
            return False
        return True


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_key_is_shown_once_and_only_a_digest_is_kept(door: Door) -> None:
    made = door.store.create("billing", ["jobs:submit"], queues=["mail*"])
    shown = Shown.parse(made.text)
    assert shown is not None
    assert made.text.startswith("trk_")
    assert len(shown.secret) == 43  # 256 bits
    (record,) = door.broker.records(KIND).records
    assert shown.secret.encode() not in record.value
    assert shown.secret not in repr(shown) + repr(made.key)
    found = door.ring.look(made.text)
    assert found == Identity(
        "billing", Kind.KEY, frozenset({Scope.SUBMIT}), ("mail*",), ("*",), made.key.id
    )


def test_a_request_costs_no_round_trip(door: Door) -> None:
    text = door.store.create("a", ["admin"]).text
    door.ring.look(text)
    before = door.broker.asked
    for _ in range(100):
        assert door.ring.quick(text) is not None
    assert door.broker.asked == before
    door.clock.advance(FRESH_S)
    assert door.ring.quick(text) is None


@pytest.mark.parametrize("change", ["secret", "id", "shape"])
def test_what_is_not_quite_the_key_opens_nothing(door: Door, change: str) -> None:
    text = door.store.create("a", ["admin"]).text
    assert door.opens(text)
    wrong = {
        "secret": text[:-1] + ("A" if text[-1] != "A" else "B"),
        "id": "trk_" + "a" * 12 + text[16:],
        "shape": text + "x",
    }[change]
    assert not door.opens(wrong)
    assert door.opens(text)


def test_revoking_acts_within_the_stated_time(door: Door) -> None:
    made = door.store.create("a", ["admin"])
    assert door.opens(made.text)
    door.store.revoke(made.key.id)
    door.clock.advance(FRESH_S)
    assert not door.opens(made.text)
    first = door.store.find(made.key.id)
    assert door.store.revoke(made.key.id) == first
    assert [one.key.standing(door.clock.wall()) for one in door.store.all()] == ["revoked"]


def test_a_key_ends_when_it_expires_also_while_it_is_known(door: Door) -> None:
    text = door.store.create("a", ["admin"], expires_at=door.clock.wall() + 2).text
    assert door.opens(text)
    door.clock.advance(2)
    assert not door.opens(text)
    with pytest.raises(OptionError, match="a moment to come"):
        door.store.create("a", ["admin"], expires_at=door.clock.wall())


def test_rotation_lets_the_old_one_go_on_for_a_while(door: Door) -> None:
    old = door.store.create(
        "a", ["jobs:read"], tasks=["mail.*"], expires_at=door.clock.wall() + 1000
    )
    door.clock.advance(100)
    new = door.store.rotate(old.key.id, overlap=60)
    assert (new.key.tasks, new.key.scopes) == (old.key.tasks, old.key.scopes)
    assert new.key.expires_at == door.clock.wall() + 1000
    assert new.key.rotated_from == old.key.id
    assert door.opens(old.text)
    assert door.opens(new.text)
    door.clock.advance(60)
    assert not door.opens(old.text)
    assert door.opens(new.text)
    with pytest.raises(OptionError, match="has ended \\(rotated\\)"):
        door.store.rotate(old.key.id)


def test_a_second_rotation_does_not_lengthen_the_first_overlap(door: Door) -> None:
    old = door.store.create("a", ["admin"])
    door.store.rotate(old.key.id, overlap=10)
    door.store.rotate(old.key.id, overlap=1000)
    door.clock.advance(10)
    assert not door.opens(old.text)


def test_last_use_is_kept_to_a_minute(door: Door) -> None:
    made = door.store.create("a", ["admin"])
    assert next(door.store.all()).used_at is None
    start = door.clock.wall()
    for _ in range(3):
        assert door.opens(made.text)
        door.clock.advance(FRESH_S)
    assert next(door.store.all()).used_at == start
    door.clock.advance(60)
    assert door.opens(made.text)
    assert next(door.store.all()).used_at == door.clock.wall()


@pytest.mark.parametrize(
    "forged",
    [
        {"scopes": frozenset({Scope.ADMIN})},
        {"queues": ("*",)},
        {"tasks": ("*",)},
        {"expires_at": None},
        {"name": "somebody else"},
        {"is_keyed": False},
    ],
)
def test_whoever_writes_into_the_store_cannot_widen_a_key(
    door: Door, forged: dict[str, object]
) -> None:
    made = door.store.create(
        "a", ["jobs:read"], queues=["a"], tasks=["b"], expires_at=door.clock.wall() + 9
    )
    assert door.opens(made.text)
    key = replace(made.key, **forged)  # type: ignore[arg-type]
    door.broker.put_record(KIND, key.id, key.pack())
    door.clock.advance(FRESH_S)
    assert not door.opens(made.text)


def test_where_there_is_a_server_side_secret_no_other_key_opens() -> None:
    door, other = Door(pepper=None), Door(pepper=None)
    made = door.store.create("a", ["admin"])
    assert door.opens(made.text)
    keyed = Door()
    keyed.broker.put_record(KIND, made.key.id, made.key.pack())
    assert not keyed.opens(made.text)
    under = keyed.store.create("b", ["admin"])
    other.broker.put_record(KIND, under.key.id, under.key.pack())
    assert not other.opens(under.text)
    changed = KeyRing(KeyStore(keyed.broker, pepper="q" * 32), clock=keyed.clock)
    with pytest.raises(NotAuthenticated):
        changed.look(under.text)


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x80", msgpack.packb({"v": 2, "id": "x"})])
def test_a_damaged_record_opens_nothing_and_stops_no_list(door: Door, packed: bytes) -> None:
    made = door.store.create("a", ["admin"])
    good = door.store.create("b", ["admin"])
    door.broker.put_record(KIND, made.key.id, packed)
    assert not door.opens(made.text)
    assert [one.key.id for one in door.store.all()] == [good.key.id]
    assert door.store.damaged() == [made.key.id]
    with pytest.raises(MessageError, match=made.key.id):
        StoredKey.unpack(made.key.id, packed)


@pytest.mark.parametrize(
    ("name", "scopes", "rest", "says"),
    [
        ("", ["admin"], {}, "name=''"),
        ("a\n", ["admin"], {}, "printable"),
        ("a", ["root"], {}, "scope 'root': expected some of jobs:submit"),
        ("a", [], {}, "no scope"),
        ("a", ["admin"], {"queues": ["a b"]}, "queue pattern 'a b'"),
        ("a", ["admin"], {"tasks": [""]}, "task pattern ''"),
        ("a", ["admin"], {"tasks": ["*a" * 6]}, "5 times"),
    ],
)
def test_what_makes_no_key(
    door: Door, name: str, scopes: list[str], rest: dict[str, list[str]], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        door.store.create(name, scopes, **rest)  # type: ignore[arg-type]
    assert list(door.store.all()) == []


def test_there_is_no_such_key(door: Door) -> None:
    for do in (door.store.revoke, door.store.rotate):
        with pytest.raises(KeyNotFound, match="'abc'"):
            do("abc")


def test_no_key_in_use_is_displaced_by_guesses(door: Door) -> None:
    text = door.store.create("a", ["admin"]).text
    assert door.opens(text)
    for _ in range(50):
        assert not door.opens(Shown.new().text)
    assert len(door.ring._known) == 1
    assert door.ring.quick(text) is not None


# -- what an identity may do


def test_scopes_and_patterns_both_have_to_fit() -> None:
    one = Identity("a", Kind.KEY, frozenset({Scope.READ}), ("mail*", "x"), ("shop.?dd", "[a]"))
    assert one.may(Scope.READ)
    assert one.may(Scope.READ, queue="mail.fast", task="shop.add")
    assert one.may(Scope.READ, queue="x", task="[a]")
    assert not one.may(Scope.READ, queue="other", task="shop.add")
    assert not one.may(Scope.READ, queue="x", task="shop.sub")
    assert not one.may(Scope.READ, queue="xx")
    assert not one.may(Scope.READ, task="a")
    assert not one.may(Scope.SUBMIT, queue="x")
    assert not one.reaches_everything


def test_admin_contains_all_scopes_and_is_held_to_its_patterns() -> None:
    one = Identity("a", Kind.KEY, frozenset({Scope.ADMIN}), patterns("queue", ["a"]))
    assert all(one.may(scope, queue="a", task="any") for scope in Scope)
    assert not one.may(Scope.READ, queue="b")
