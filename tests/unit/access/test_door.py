from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskrunner.access import Identity, KeyRing, KeyStore, Kind, Scope
from taskrunner.access.buckets import Buckets, network_of
from taskrunner.access.certificates import Certificate, Certificates
from taskrunner.access.door import FAILURES_AT_ONCE, Credentials, Door
from taskrunner.access.keyring import FRESH_S
from taskrunner.access.keys import Shown
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import ConfigError, NotAuthenticated, TooManyRequests
from taskrunner.testing.clock import FakeClock

CLIENTS = """
[[client]]
subject = "CN=billing,O=Shop"
name = "billing"
scopes = ["jobs:submit"]
queues = ["mail*"]
"""


class Counting(MemoryBroker):
    asked = 0

    def records(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return super().records(*args, **kwargs)


class House:
    def __init__(self, certificates: Certificates | None = None) -> None:
        self.clock = FakeClock()
        self.broker = Counting(clock=self.clock)
        self.store = KeyStore(self.broker)
        ring = KeyRing(self.store, clock=self.clock)
        self.door = Door(ring, certificates=certificates, clock=self.clock)

    @contextmanager
    def nobody_asked(self) -> Iterator[None]:
        """The store is not asked meanwhile."""
        before = self.broker.asked
        try:
            yield
        finally:
            assert self.broker.asked == before

    def enter(self, text: str, address: str = "10.0.0.1") -> Identity:
        shown = Credentials(text, address=address)
        return self.door.quick(shown) or self.door.look(shown)


@pytest.fixture
def house() -> House:
    return House()


def test_a_key_is_shown_in_one_of_two_ways(house: House) -> None:
    text = house.store.create("a", ["admin"]).text
    for header in ((b"authorization", b"bearer " + text.encode()), (b"X-Api-Key", text.encode())):
        shown = Credentials.of([(b"accept", b"*/*"), header])
        assert house.enter(shown.bearer).name == "a"
        assert text not in repr(shown)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Basic dTpw")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"b")],
        [(b"authorization", b"")],
    ],
)
def test_ways_of_showing_that_nobody_knows(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(NotAuthenticated):
        Credentials.of(headers)


def test_nothing_shown_is_refused_and_no_guess(house: House) -> None:
    for _ in range(3 * FAILURES_AT_ONCE):
        with pytest.raises(NotAuthenticated, match="expected Authorization"):
            house.enter("")
    with pytest.raises(NotAuthenticated, match="tokens are not accepted here"):
        house.enter("ey")


def test_whoever_guesses_has_to_wait(house: House) -> None:
    good = house.store.create("a", ["admin"]).text
    fresh = house.store.create("b", ["admin"]).text
    assert house.enter(good)
    for _ in range(FAILURES_AT_ONCE):
        with pytest.raises(NotAuthenticated):
            house.enter(Shown.new().text)
    for text in (Shown.new().text, "ey", "trk_", fresh):
        with pytest.raises(TooManyRequests) as caught:
            house.enter(text)
        assert 0 < caught.value.retry_after < 60
    house.clock.advance(FRESH_S)
    for allowed in (NotAuthenticated, TooManyRequests):  # one more in 3 seconds
        with pytest.raises(allowed):
            house.enter(good[:-3] + "aaa")
    with pytest.raises(TooManyRequests), house.nobody_asked():
        house.enter(good[:-3] + "aaa")
    assert house.enter(good), "a key in use is let in, whoever shares its address"
    assert house.enter(fresh, "10.0.0.2"), "and other addresses are not concerned"
    for _ in range(500):
        with pytest.raises(TooManyRequests) as caught:
            house.enter("trk_")
    assert caught.value.retry_after < 60, "a flood does not lengthen the wait"
    house.clock.advance(120)
    assert house.enter(fresh)


def test_wrong_secrets_of_a_known_key_count_as_guesses(house: House) -> None:
    good = house.store.create("a", ["admin"]).text
    assert house.enter(good)
    for _ in range(FAILURES_AT_ONCE):
        with pytest.raises(NotAuthenticated):
            house.enter(good[:-3] + "aaa")
    with pytest.raises(TooManyRequests):
        house.enter(good[:-3] + "aaa")


# -- certificates


def test_a_certificate_names_an_identity(tmp_path: Path) -> None:
    (tmp_path / "clients").write_text(CLIENTS)
    house = House(Certificates.read(tmp_path / "clients"))
    found = house.door.quick(Credentials(certificate=Certificate("CN=billing,O=Shop")))
    assert found == Identity(
        "billing", Kind.CERTIFICATE, frozenset({Scope.SUBMIT}), ("mail*",), id="CN=billing,O=Shop"
    )
    for subject in ("CN=billing", "CN=billing,O=Shop,C=DE", "cn=billing,O=Shop"):
        with pytest.raises(NotAuthenticated, match="subject"):
            house.door.quick(Credentials(certificate=Certificate(subject)))


def test_subjects_cannot_be_confused() -> None:
    def subject(*pairs: tuple[str, str]) -> str:
        found = Certificate.of({"subject": tuple((pair,) for pair in pairs)})
        assert found is not None
        return found.subject

    assert subject(("organizationName", "Shop"), ("commonName", "billing")) == "CN=billing,O=Shop"
    assert subject(("commonName", "billing,O=Shop")) == "CN=billing\\,O\\=Shop"
    assert Certificate.of({}) is None
    assert Certificate.of(None) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected tables"),
        ("[[client", "cannot be read"),
        ("x = 1\n" + CLIENTS, "expected tables"),
        ('[[client]]\nsubject = "x"\nscopes = ["admin"]', "client 1: subject"),
        ('[[client]]\nsubject = "CN=x"\nscopes = ["root"]', "scope 'root'"),
        ('[[client]]\nsubject = "CN=x"\nscopes = "admin"', "scopes: expected a list"),
        ('[[client]]\nsubject = "CN=x"\nscopes = ["admin"]\nqueue = "a"', "expected name, queues"),
        (CLIENTS + CLIENTS, "client 2: there was another"),
    ],
)
def test_files_of_clients_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "clients").write_text(text)
    with pytest.raises(ConfigError, match=says.replace("[", "\\[")):
        Certificates.read(tmp_path / "clients")
    with pytest.raises(ConfigError):
        Certificates.read(tmp_path / "nothing")


def test_what_python_says_of_a_real_certificate(tmp_path: Path) -> None:
    import trustme

    cert = trustme.CA().issue_cert(
        "x.example", common_name="billing", organization_name="Shop, Inc"
    )
    (tmp_path / "pem").write_bytes(cert.cert_chain_pems[0].bytes())
    decoded = ssl._ssl._test_decode_cert(str(tmp_path / "pem"))  # type: ignore[attr-defined]
    found = Certificate.of(decoded)
    assert found is not None
    assert found.subject.startswith("CN=billing,")
    assert found.subject.endswith("O=Shop\\, Inc")


# -- how often


def test_buckets_fill_again_with_time() -> None:
    clock = FakeClock()
    buckets = Buckets(2.0, 3, clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0
    clock.advance(0.5)
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    clock.advance(100)
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_buckets_do_not_grow_without_bound() -> None:
    buckets = Buckets(1.0, 1, clock=FakeClock(), names_at_most=10)
    for number in range(1000):
        buckets.take(str(number))
    assert len(buckets) == 10


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
        ("/run/x.sock", "/run/x.sock"),
    ],
)
def test_under_which_name_an_address_is_counted(address: str, name: str) -> None:
    assert network_of(address) == name
