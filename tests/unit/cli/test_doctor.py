from __future__ import annotations

import io
import json

import pytest

from taskrunner import App, State
from taskrunner.brokers.base import BrokerClient, JobKey, Remark
from taskrunner.cli.exits import Exit
from taskrunner.errors import BrokerError, OptionError
from taskrunner.inspector import Inspector
from taskrunner.worker.upcall import UpcallBroker
from tests.unit.cli.conftest import Cli


def damage(cli: Cli) -> JobKey:
    """A scheduled job that its index has lost."""
    job = cli.app.enqueue("shop.add", (1,), queue="a", delay=60)
    cli.app.enqueue("shop.add", (1,), queue="b")
    cli.broker._queues["a"].timers.discard(job.id)
    return JobKey("a", job.id)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_sound_store(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,))
    ran = cli("doctor")
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert "nothing is wrong" in ran.out
    assert cli("doctor", "shop:app", "--repair", "--yes").code == Exit.OK


def test_what_is_wrong_is_shown_and_left_as_it_is(cli: Cli) -> None:
    key = damage(cli)
    for _ in range(2):
        ran = cli("doctor")
        assert ran.code == Exit.DAMAGED
        (row,) = [line for line in ran.out.splitlines() if key.id in line]
        assert row.split()[:4] == ["unindexed", "a", key.id, "no"]
        assert "1 finding, 0 mended" in ran.out


def test_it_asks_before_it_mends(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(cli)
    for text in ("n\n", ""):
        answer(monkeypatch, text)
        ran = cli("doctor", "--repair")
        assert ran.code == Exit.DAMAGED
        assert "Mend 1 finding?" in ran.err
    answer(monkeypatch, "y\n")
    ran = cli("doctor", "--repair")
    assert ran.code == Exit.REPAIRED
    assert "1 finding, 1 mended" in ran.out
    assert cli("doctor").code == Exit.OK


def test_it_does_not_ask_where_nothing_is_wrong(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "")
    assert cli("doctor", "--repair").code == Exit.OK


def test_yes_mends_at_once(cli: Cli) -> None:
    key = damage(cli)
    assert cli("doctor", "--repair", "--yes").code == Exit.REPAIRED
    assert cli("doctor").code == Exit.OK
    assert cli.app.job(key.id, key.queue).state() is State.SCHEDULED


def test_as_json(cli: Cli) -> None:
    key = damage(cli)
    found = json.loads(cli("doctor", "--json").out)
    (finding,) = found["findings"]
    assert finding == {
        "kind": "unindexed",
        "queue": "a",
        "subject": key.id,
        "detail": "scheduled, and not in timers",
        "repaired": False,
    }
    assert {"topic", "text", "is_risk"} == set(found["remarks"][0])
    assert cli("doctor", "--json", "--repair").code == Exit.USAGE
    ran = cli("doctor", "--json", "--repair", "--yes")
    assert ran.code == Exit.REPAIRED
    assert json.loads(ran.out)["findings"][0]["repaired"] is True


def test_some_queues(cli: Cli) -> None:
    damage(cli)
    assert cli("doctor", "--queue", "b").code == Exit.OK
    assert cli("doctor", "--queue", "b", "--queue", "a").code == Exit.DAMAGED
    assert cli("doctor", "--queue", "a b").code == Exit.USAGE


def test_a_risk_is_no_good_health(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    remarks = [
        Remark("memory", "it throws jobs away", True),
        Remark("server", "it is there", False),
    ]
    monkeypatch.setattr(cli.broker, "remarks", lambda: remarks)
    ran = cli("doctor")
    assert ran.code == Exit.DAMAGED
    assert ran.out.splitlines()[:2] == ["RISK memory: it throws jobs away", "server: it is there"]


def test_very_many_findings_are_counted(cli: Cli) -> None:
    jobs = cli.app.enqueue_many([cli.app.task(name="t")(print).message() for _ in range(300)])
    assert len(jobs) == 300
    cli.broker._queues["default"].ready._lists[5].clear()
    ran = cli("doctor")
    assert "… and 100 more" in ran.err
    assert "300 findings, 0 mended" in ran.out


def test_a_broker_of_one_process_has_no_doctor_elsewhere(cli: Cli) -> None:
    assert cli("doctor", "--broker", "memory://").code == Exit.CONFIG


class TestInspector:
    def test_the_memory_broker_of_this_process(self) -> None:
        app = App("memory://")
        app.enqueue("t")
        report = Inspector(app).doctor()
        assert (report.findings, report.left, report.risks) == ((), (), ())
        assert [remark.topic for remark in report.remarks] == ["persistence"]
        with pytest.raises(OptionError, match="queues"):
            Inspector(app).doctor(["a b"])

    def test_a_task_cannot_audit_its_supervisors_broker(self) -> None:
        broker: BrokerClient = UpcallBroker.__new__(UpcallBroker)
        with pytest.raises(BrokerError, match="supervisor"):
            Inspector(App(broker)).doctor()
