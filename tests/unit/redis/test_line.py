"""What a line makes of bytes as they come: in pieces, too many at once, late, or never."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from redis.exceptions import BusyLoadingError, InvalidResponse, NoScriptError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskrunner.brokers.redis.line import Line, Reply

MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"


class Made:
    """A connection as redis-py makes them."""

    socket_timeout = 10.0

    def __init__(self, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock
        sock.settimeout(self.socket_timeout)

    def connect(self) -> None: ...

    def disconnect(self) -> None:
        if self._sock is not None:
            self._sock.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


@pytest.fixture
def ends(server: socket.socket) -> Iterator[tuple[Line, socket.socket]]:
    line = Line(Made(socket.create_connection(server.getsockname())))
    other, _ = server.accept()
    with other:
        yield line, other
    line.disconnect()


def test_commands_go_out_in_one_piece(ends: tuple[Line, socket.socket]) -> None:
    line, other = ends
    line.send([("SET", "k", b"\x00\xff"), ["INCRBY", "n", 7]])
    assert other.recv(1000) == (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\x00\xff\r\n*3\r\n$6\r\nINCRBY\r\n$1\r\nn\r\n$1\r\n7\r\n"
    )


def test_replies_may_come_in_pieces_and_more_than_were_asked_for(
    ends: tuple[Line, socket.socket],
) -> None:
    line, other = ends
    other.sendall(b":1\r\n$5\r\nhe")
    assert line.receive(1) == [1]
    assert line.buffered() == []
    other.sendall(b"llo\r\n*-1\r\n:4\r\n")
    assert line.receive(2) == [b"hello", None]
    assert line.buffered() == [4]


def test_what_a_command_was_refused_with_stands_in_its_place(
    ends: tuple[Line, socket.socket],
) -> None:
    line, other = ends
    other.sendall(b"-NOSCRIPT no such\r\n-ERR wrong\r\n+OK\r\n")
    first, second, third = line.receive(3)
    assert type(first) is NoScriptError
    assert type(second) is ResponseError
    assert third == b"OK"


def test_what_a_server_says_of_itself_ends_the_exchange(ends: tuple[Line, socket.socket]) -> None:
    line, other = ends
    other.sendall(b"-LOADING it is\r\n")
    with pytest.raises(BusyLoadingError):
        line.receive(1)


def test_silence_ends_a_line(ends: tuple[Line, socket.socket]) -> None:
    line, _ = ends
    line.send([("PING",)], 0.01)
    with pytest.raises(RedisTimeoutError):
        line.receive(1, 0.01)
    assert line.fileno() < 0
    with pytest.raises(RedisConnectionError):
        line.send([("PING",)])


def test_nonsense_ends_a_line(ends: tuple[Line, socket.socket]) -> None:
    line, other = ends
    other.sendall(b"?what\r\n")
    with pytest.raises(InvalidResponse):
        line.receive(1)
    assert line.fileno() < 0


def test_its_own_timeout_comes_back_after_another(ends: tuple[Line, socket.socket]) -> None:
    line, other = ends
    line.send([("PING",)], 1.0)
    assert line._sock.gettimeout() == 1.0
    other.sendall(b"+PONG\r\n")
    assert line.receive(1, 1.0) == [b"PONG"]
    assert line._sock.gettimeout() == Made.socket_timeout


def test_a_line_that_is_only_listened_to_waits_for_nothing(
    ends: tuple[Line, socket.socket],
) -> None:
    line, other = ends
    line.listen()
    assert line.arrived() == []
    other.sendall(MESSAGE + MESSAGE[:10])
    assert arrived(line) == [[b"message", b"c", b"x"]]
    other.sendall(MESSAGE[10:])
    assert arrived(line) == [[b"message", b"c", b"x"]]
    other.shutdown(socket.SHUT_WR)
    with pytest.raises(RedisConnectionError, match="closed by server"):
        arrived(line)


def arrived(line: Line) -> list[Reply]:
    assert select.select([line], [], [], 10.0)[0]
    return line.arrived()
