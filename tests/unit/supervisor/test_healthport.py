"""The health port: what it answers, to how many, and for how long."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from taskrunner.errors import StartError
from taskrunner.probes import Fault, Hop
from taskrunner.supervisor import healthport
from taskrunner.supervisor.healthport import HealthPort
from taskrunner.testing.startstop import start_stop_stress
from taskrunner.testing.waiting import eventually


class FakeReadiness:
    def __init__(self) -> None:
        self.dead: Fault | None = None
        self.unready: Fault | None = None

    def not_alive(self) -> Fault | None:
        return self.dead

    def not_ready(self) -> Fault | None:
        return self.unready


class Served:
    def __init__(self, host: str = "127.0.0.1") -> None:
        self.readiness = FakeReadiness()
        self.port = HealthPort(host, 0, self.readiness)  # type: ignore[arg-type]
        self.port.start()

    @property
    def address(self) -> tuple[str, int]:
        address = self.port.address
        assert address is not None
        return address

    def get(self, path: str, method: str = "GET") -> tuple[int, Any]:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if method == "GET" else None
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.port.stop()


def test_a_node_that_is_well(served: Served) -> None:
    assert served.get("/livez") == (200, {"live": True})
    assert served.get("/readyz") == (200, {"ready": True})
    assert served.get("/healthz?verbose") == (200, {"ready": True})


def test_a_node_that_is_alive_and_not_ready(served: Served) -> None:
    served.readiness.unready = Fault(Hop.BROKER, "the broker is away")
    said = {"ready": False, "hop": "broker", "why": "the broker is away"}
    assert served.get("/livez") == (200, {"live": True})
    assert served.get("/readyz") == (503, said)
    assert served.get("/healthz") == (503, said)


def test_a_node_that_is_beyond_help(served: Served) -> None:
    served.readiness.dead = Fault(Hop.SETTLE, "its settle thread has ended")
    said = {"live": False, "hop": "settle thread", "why": "its settle thread has ended"}
    assert served.get("/livez") == (503, said)


def test_there_is_nothing_else(served: Served) -> None:
    assert served.get("/")[0] == 404
    assert served.get("/livez/../readyz")[0] == 404
    assert served.get("/livez", method="POST")[0] == 501


def test_whoever_talks_nonsense_harms_nobody(served: Served) -> None:
    for nonsense in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""):
        with served.connect() as line:
            line.sendall(nonsense)
    assert served.get("/livez")[0] == 200


def test_a_few_may_ask_at_once_and_no_more(served: Served) -> None:
    few = [served.connect() for _ in range(healthport.MOST_CONNECTIONS)]
    eventually(lambda: len(served.port._server._open) == len(few))  # type: ignore[union-attr]
    try:
        with served.connect() as one_too_many:
            assert one_too_many.recv(1) == b""
        few[0].sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert few[0].recv(1) == b"H"
    finally:
        for line in few:
            line.close()
    eventually(lambda: served.get("/livez")[0] == 200)


def test_whoever_takes_too_long_is_hung_up_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthport, "LONGEST_S", 0.3)
    with served.connect() as slow:
        slow.settimeout(0.02)

        def is_over() -> bool:
            try:
                slow.sendall(b"x")  # always a little, so that no single read takes long
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        eventually(is_over, timeout=4.0)


def test_a_port_that_is_taken_is_an_error_that_says_so(served: Served) -> None:
    other = HealthPort(*served.address, FakeReadiness())  # type: ignore[arg-type]
    with pytest.raises(StartError, match=r"the health port cannot listen on 127\.0\.0\.1 port"):
        other.start()
    other.stop()


def test_a_host_that_is_not_of_this_machine() -> None:
    port = HealthPort("192.0.2.1", 0, FakeReadiness())  # type: ignore[arg-type]
    with pytest.raises(StartError, match="cannot listen"):
        port.start()


def test_without_a_port_it_does_nothing() -> None:
    port = HealthPort("127.0.0.1", None, FakeReadiness())  # type: ignore[arg-type]
    port.start()
    assert port.address is None
    port.stop()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_listens_by_both_families_where_it_is_told_to() -> None:
    try:
        served = Served("::")
    except StartError:
        pytest.skip("this machine has no IPv6 address")
    try:
        connection = http.client.HTTPConnection("127.0.0.1", served.address[1], timeout=20)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        served.port.stop()


def test_it_starts_and_stops_in_any_order() -> None:
    start_stop_stress(
        lambda: HealthPort("127.0.0.1", 0, FakeReadiness()),  # type: ignore[arg-type]
        rounds=2,
    )
