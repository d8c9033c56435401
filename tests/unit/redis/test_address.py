"""What a Redis URL may say, and that a password is never shown."""

from __future__ import annotations

from ssl import TLSVersion

import pytest

from taskrunner.brokers.base import Limits
from taskrunner.brokers.redis.address import Address, Server
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.keys import Keys
from taskrunner.errors import OptionError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0}),
        ("redis://cache:7000/3", {"host": "cache", "port": 7000, "db": 3}),
        ("redis://cache?db=4", {"host": "cache", "db": 4}),
        ("redis://me:s%40fe@cache", {"username": "me", "password": "s@fe"}),
        ("redis://:secret@cache", {"password": "secret"}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://cache?socket_timeout=2.5", {"socket_timeout": 2.5}),
        ("unix:///run/redis.sock?db=2", {"path": "/run/redis.sock", "db": 2}),
        ("unix://:pw@/run/redis.sock", {"path": "/run/redis.sock", "password": "pw"}),
        ("rediss://cache?ssl_ca_certs=/ca.pem", {"host": "cache", "ssl_ca_certs": "/ca.pem"}),
        ("rediss://cache", {"ssl_cert_reqs": "required", "ssl_check_hostname": True}),
        ("rediss://cache", {"ssl_min_version": TLSVersion.TLSv1_2}),
        ("rediss+cluster://cache?ssl_min_version=1.3", {"ssl_min_version": TLSVersion.TLSv1_3}),
        ("rediss+sentinel://cache/m?ssl_min_version=1.3", {"ssl_min_version": TLSVersion.TLSv1_3}),
        (
            "rediss://cache?ssl_cert_reqs=none",
            {"ssl_cert_reqs": "none", "ssl_check_hostname": False},
        ),
    ],
)
def test_a_url_is_read(url: str, expected: dict[str, object]) -> None:
    options = Address.parse(url).options
    assert {name: options.get(name) for name in expected} == expected


def test_sentinels_are_read() -> None:
    url = "redis+sentinel://me:pw@first,second:7000,[::1]/shop/2?sentinel_password=other"
    address = Address.parse(url)
    assert address.servers == (("first", 26379), ("second", 7000), ("::1", 26379))
    assert [str(server) for server in address.servers][1:] == ["second:7000", "[::1]:26379"]
    assert (address.kind, address.transport, address.service) == ("sentinel", "redis", "shop")
    master = address.at(Server("10.0.0.1", 6380))
    assert (master.scheme, master.kind, master.shown) == ("redis", "", "redis://10.0.0.1:6380")
    expected = {"host": "10.0.0.1", "port": 6380, "db": 2, "username": "me", "password": "pw"}
    assert {name: master.options[name] for name in expected} == expected
    sentinel = address.sentinel(address.servers[0])
    assert sentinel.options["password"] == "other"
    assert not {"username", "db", "sentinel_password"} & set(sentinel.options)
    assert "sentinel_password" not in master.options


def test_a_cluster_is_read() -> None:
    address = Address.parse("rediss+cluster://me:pw@one,two:7000/?ssl_ca_certs=/ca.pem")
    assert address.servers == (("one", 6379), ("two", 7000))
    assert (address.kind, address.transport) == ("cluster", "rediss")
    assert Address.parse("redis+cluster://one/0").options["db"] == 0
    node = address.at(Server("two", 7001)).options
    expected = {"host": "two", "port": 7001, "username": "me", "ssl_ca_certs": "/ca.pem"}
    assert {name: node[name] for name in expected} == expected


def test_sentinels_over_tls_are_read() -> None:
    address = Address.parse("rediss+sentinel://first/shop?ssl_ca_certs=/ca.pem")
    for one in (address.at(Server("a", 1)), address.sentinel(Server("a", 1))):
        assert one.scheme == "rediss"
        assert one.options["ssl_ca_certs"] == "/ca.pem"
        assert one.options["ssl_check_hostname"] is True


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://cache", "expected one of redis, rediss, unix"),
        ("redis://cache:many", "host or port"),
        ("redis://cache/first", "number of a database"),
        ("redis://cache?db=-1", "'db'"),
        ("redis://cache?colour=red", "unknown option 'colour'"),
        ("redis://cache?ssl_ca_certs=/ca.pem", "unknown option 'ssl_ca_certs'"),
        ("redis://cache?socket_timeout=0", "'socket_timeout'"),
        ("rediss://cache?ssl_check_hostname=perhaps", "true or false"),
        ("rediss://cache?ssl_cert_reqs=optional", "required or none"),
        ("unix://host/run/redis.sock", "unix:///path"),
        ("unix://", "unix:///path"),
        ("redis://:se#cret@cache", "%23"),
        ("redis://cache/1#fragment", "nothing after"),
        ("redis://one,two", "several are for"),
        ("redis://one:many,two", "host or port"),
        ("redis+cluster://one,two/3", "no database but 0"),
        ("redis+cluster://one?db=1", "no database but 0"),
        ("redis+cluster://one/first", "number of a database"),
        ("redis+sentinel://one,two", "name of the master"),
        ("redis+sentinel://one/shop/first", "number of a database"),
        ("redis+sentinel://one/shop?colour=red", "unknown option 'colour'"),
        ("redis://cache?sentinel_password=hunter2", "unknown option 'sentinel_password'"),
    ],
)
def test_a_url_that_cannot_be_understood_says_why(url: str, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint.replace("?", r"\?")) as caught:
        Address.parse(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@cache/1",
        "redis://cache?password=hunter2",
        "unix://:hunter2@/run/redis.sock",
        "redis://me:hunter2@cache?colour=red",
        "redis://me:hunter2@cache:port",
        "redis+cluster://me:hunter2@one,two",
        "redis+sentinel://me:hunter2@one,two/shop?sentinel_password=hunter2",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    try:
        broker = RedisBroker.from_url(url, namespace="ns", limits=Limits())
        shown = repr(broker) + repr(broker._address) + str(broker)
    except OptionError as error:
        shown = str(error)
    assert "hunter2" not in shown


@pytest.mark.parametrize("namespace", ["", "a b", "{a}", "a:b", "a\n"])
def test_a_namespace_that_cannot_be_in_a_key_is_refused(namespace: str) -> None:
    with pytest.raises(OptionError, match="namespace"):
        Keys(namespace)
