"""Values that travel through the seam."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Command


def test_a_command_is_read_as_it_was_packed() -> None:
    command = Command.new("grow", by=2, why="load")
    assert Command.unpack(command.id, command.pack()) == command


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x93abc", b"\x81\xa2do", b"\x01", b"\x80"])
def test_a_command_that_nobody_can_read_does_nothing(garbage: bytes) -> None:
    assert Command.unpack("id", garbage) == Command("id", "")
