"""Commands for nodes: kept until they are taken, and no longer than they are of use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import COMMAND_KEPT, COMMANDS_KEPT, BellKind, Command
from taskrunner.errors import BrokerFull, PayloadTooLarge
from taskrunner.testing._conformance_kit import LEASE, BrokerKit, Ear, Store


class ControlTests(BrokerKit):
    def test_a_command_waits_for_its_node_and_for_no_other(self, store: Store) -> None:
        store.join("n1")
        store.join("n2")
        command = Command.new("grow", by=2, why="load", raw=b"\x00\xff", parts=[1, None, 0.5])
        assert store.broker.send("n1", command) is True
        assert store.broker.commands("n2") == []
        (found,) = store.broker.commands("n1")
        assert (found.id, found.do) == (command.id, "grow")
        assert dict(found.details) == dict(command.details)

    def test_a_command_rings_at_its_node(self, store: Store, ear: Callable[[str], Ear]) -> None:
        node, other = ear("n1"), ear("n2")
        store.join("n1")
        store.join("n2")
        store.broker.send("n1", Command.new("grow"))
        assert node.hears(BellKind.COMMAND, "")
        assert other.everything() == []

    def test_a_beat_rings_again_while_it_waits(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        store.join("n1")
        command = Command.new("grow")
        store.broker.send("n1", command)
        assert node.hears(BellKind.COMMAND, "")
        store.beat("n1")
        assert node.hears(BellKind.COMMAND, "")
        store.broker.commands("n1", [command.id])
        store.beat("n1")
        assert node.everything() == []

    def test_an_answer_that_was_lost_is_given_again(self, store: Store) -> None:
        store.join()
        first, second, third = (Command.new("grow", n=n) for n in range(3))
        for command in (first, second):
            store.broker.send("n1", command)
        for _ in range(2):
            assert [c.id for c in store.broker.commands("n1")] == [first.id, second.id]
        store.broker.send("n1", third)
        for _ in range(2):
            left = store.broker.commands("n1", [first.id, second.id])
            assert [c.id for c in left] == [third.id]
        assert store.broker.commands("n1", [third.id, "nobody"]) == []
        assert store.broker.commands("n1") == []

    def test_a_command_that_is_sent_twice_is_one(self, store: Store) -> None:
        store.join()
        command = Command.new("grow")
        assert store.broker.send("n1", command) is True
        assert store.broker.send("n1", command) is True
        assert [c.id for c in store.broker.commands("n1")] == [command.id]
        assert store.broker.commands("n1", [command.id]) == []
        assert store.broker.send("n1", command) is True
        assert store.broker.commands("n1") == []

    def test_commands_come_in_the_order_in_which_they_were_sent(self, store: Store) -> None:
        store.join()
        sent = [Command(f"id-{n % 7}-{n}", "grow") for n in range(50)]
        for command in sent:
            store.broker.send("n1", command)
        assert [c.id for c in store.broker.commands("n1")] == [c.id for c in sent]

    def test_a_node_that_does_not_exist(self, store: Store) -> None:
        assert store.broker.send("nobody", Command.new("grow")) is False
        store.join("left")
        store.broker.leave("left", ["q"])
        store.join("silent")
        store.later(100 * LEASE)
        for node in ("left", "silent"):
            assert store.broker.send(node, Command.new("grow")) is False
        assert store.broker.commands("nobody", ["x"]) == []

    def test_what_nobody_took_in_time_is_gone(self, store: Store) -> None:
        store.join("n1", lease=10 * COMMAND_KEPT)
        old = Command.new("grow")
        store.broker.send("n1", old)
        store.later(0.9 * COMMAND_KEPT)
        assert [c.id for c in store.broker.commands("n1")] == [old.id]
        new = Command.new("shrink")
        store.broker.send("n1", new)
        store.later(0.2 * COMMAND_KEPT)
        assert [c.id for c in store.broker.commands("n1")] == [new.id]
        assert store.broker.send("n1", old) is True
        assert [c.id for c in store.broker.commands("n1")] == [new.id, old.id]

    def test_a_node_that_comes_back_finds_nothing_of_before(self, store: Store) -> None:
        store.join()
        store.broker.send("n1", Command.new("grow"))
        store.broker.leave("n1", ["q"])
        store.join()
        assert store.broker.commands("n1") == []

    def test_a_node_is_not_sent_more_than_it_can_take(self, store: Store) -> None:
        store.join("n1", lease=10 * COMMAND_KEPT)
        for n in range(COMMANDS_KEPT):
            store.broker.send("n1", Command(f"c{n}", "grow"))
        with pytest.raises(BrokerFull):
            store.broker.send("n1", Command.new("one too many"))
        assert store.broker.send("n1", Command("c0", "grow")) is True
        assert len(store.broker.commands("n1")) == COMMANDS_KEPT
        store.later(1.1 * COMMAND_KEPT)
        last = Command.new("grow")
        assert store.broker.send("n1", last) is True
        assert [c.id for c in store.broker.commands("n1")] == [last.id]

    def test_a_command_too_large_to_keep(self, store: Store) -> None:
        store.join()
        with pytest.raises(PayloadTooLarge):
            store.broker.send("n1", Command.new("grow", text="x" * 5000))
        assert store.broker.commands("n1") == []
