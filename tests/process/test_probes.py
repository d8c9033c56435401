"""A health answer is earned: it has travelled the road of a job, and names the hop where it ends."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App
from taskrunner.testing.fleet import Node
from taskrunner.testing.processes import pause, resume
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, Fleet, lines
from tests.process.test_redis_node import cli, submit

SICK = "tests.process.apps.sick:app"


def port_of(node: Node) -> int:
    """Where it answers, as its log says."""
    pattern = r"health at http://127.0.0.1:(\d+)/livez"
    return int(eventually(lambda: re.findall(pattern, node.log), timeout=20)[0])


def ask(port: int, path: str, *, timeout: float = 20.0) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def is_ready(port: int) -> bool:
    return ask(port, "/readyz") == (200, {"ready": True})


def says(port: int, path: str, hop: str) -> Callable[[], str]:
    """The reason, once this hop is named."""

    def look() -> str:
        status, found = ask(port, path)
        return str(found["why"]) if status == 503 and found["hop"] == hop else ""

    return look


def probed(fleet: Fleet, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one node, and what was said about it."""
    ran = cli(fleet, "health", "--json", *words)
    assert "Traceback" not in ran.stderr
    (found,) = json.loads(ran.stdout)
    return ran.returncode, found, ran.stderr.strip()


def states(found: dict[str, Any]) -> list[str]:
    return [child["state"] for child in found["children"]]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    gate = tmp_path / "gate"
    yield gate
    gate.unlink(missing_ok=True)


def test_a_stopped_child_is_named_and_a_busy_one_is_none_the_worse(
    fleet: Fleet, gate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    gate.touch()
    node = fleet.start(
        *("--processes", "2", "--prefetch", "0", "--health-port", "0"),
        TASKRUNNER_SILENCE_STOPPED_S="600",  # else it might be replaced while we look
    )
    port = port_of(node)
    eventually(lambda: is_ready(port), timeout=20)
    code, found, _ = probed(fleet)
    assert (code, found["healthy"], found["pid"]) == (0, True, node.pid)
    assert {child["pid"] for child in found["children"]} == set(node.children)
    assert states(found) == ["answered", "answered"]

    app = fleet.app()
    jobs = [submit(app, "block_then_append", str(out), str(n), str(gate)) for n in range(2)]
    eventually(lambda: len(lines(out)) == 2, timeout=20)
    code, found, _ = probed(fleet)
    assert (code, states(found)) == (0, ["busy", "busy"])
    assert all(child["running"] > 0 for child in found["children"])
    assert is_ready(port)
    gate.unlink()
    assert [job.result(timeout=20) for job in jobs] == ["0", "1"]

    victim = node.children[0]
    pause(victim)
    code, found, said = probed(fleet, "--timeout", "2")
    assert (code, sorted(states(found))) == (9, ["answered", "silent"])
    assert said.startswith(f"node {found['node']}: child: child ")
    assert f"(pid {victim}) is silent" in said
    assert eventually(says(port, "/readyz", "child"), timeout=20)
    assert ask(port, "/livez") == (200, {"live": True})
    resume(victim)
    eventually(lambda: is_ready(port), timeout=30)


def test_a_stopped_supervisor_cannot_answer_and_leaves_no_probe_behind(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    node = fleet.start("--processes", "1", "--concurrency", "3", "--health-port", "0")
    port = port_of(node)
    second = fleet.start("--processes", "1", "--health-port", str(port))
    eventually(lambda: is_ready(port), timeout=20)
    node.pause()
    with pytest.raises(TimeoutError):
        ask(port, "/livez", timeout=1.0)
    code, found, said = probed(fleet, "--timeout", "0.5")
    assert (code, found["fault"]["hop"]) == (9, "supervisor")
    assert "its process may be stopped" in said
    node.resume()
    eventually(lambda: is_ready(port), timeout=30)
    assert probed(fleet)[0] == 0
    client = redis_server.client()
    try:
        keys = list(client.scan_iter(f"{{{fleet.namespace}}}:*:probe:*"))
        assert all(0 < client.pttl(key) <= 60_000 for key in keys)
    finally:
        client.close()
    assert fleet.app().broker.queues() == [], "a probe is no job"
    assert second.wait(timeout=20) == 6
    assert f"the health port cannot listen on 127.0.0.1 port {port}" in second.log
    assert "Traceback" not in second.log


def test_a_stuck_fetch_thread_is_named(fleet: Fleet, gate: Path) -> None:
    node = fleet.start(
        *("--processes", "1", "--health-port", "0", "--lease", "0.9"),
        target=SICK,
        SICK="fetch:blocked",
        SICK_GATE=str(gate),
    )
    port = port_of(node)
    eventually(lambda: is_ready(port), timeout=20)
    gate.touch()
    code, _, said = probed(fleet, "--timeout", "2")
    assert code == 9
    assert "fetch thread: it did not take the probe within 2.0 s, though it goes on beating" in said
    assert eventually(says(port, "/readyz", "fetch thread"), timeout=20)
    assert ask(port, "/livez") == (200, {"live": True})
    gate.unlink()
    eventually(lambda: is_ready(port), timeout=30)


def test_a_stuck_main_thread_is_named(fleet: Fleet, gate: Path) -> None:
    node = fleet.start(
        *("--processes", "1", "--health-port", "0"),
        target=SICK,
        SICK="main:blocked",
        SICK_GATE=str(gate),
    )
    port = port_of(node)
    eventually(lambda: is_ready(port), timeout=20)
    gate.touch()
    assert "has not turned" in eventually(says(port, "/livez", "main thread"), timeout=20)
    assert eventually(says(port, "/readyz", "main thread"), timeout=20)
    code, found, said = probed(fleet, "--timeout", "2")
    assert (code, found["fault"]["hop"]) == (9, "main thread")
    assert "it took the probe and did nothing about it" in said
    gate.unlink()
    eventually(lambda: is_ready(port), timeout=30)


def test_a_dead_settle_thread_is_named(fleet: Fleet, gate: Path) -> None:
    node = fleet.start(
        *("--processes", "1", "--health-port", "0"),
        target=SICK,
        SICK="settle:ended",
        SICK_GATE=str(gate),
    )
    port = port_of(node)
    eventually(lambda: is_ready(port), timeout=20)
    gate.touch()
    for path in ("/readyz", "/livez"):
        assert "has ended" in eventually(says(port, path, "settle thread"), timeout=20)
    code, found, said = probed(fleet, "--timeout", "3")
    assert code == 9
    assert "settle thread: its settle thread has ended" in said
    assert states(found) == ["answered"]


def test_while_it_starts_and_stops_it_is_alive_and_not_ready(fleet: Fleet, gate: Path) -> None:
    gate.touch()
    starting = fleet.start(
        *("--processes", "1", "--health-port", "0"),
        target=SICK,
        SICK="import:blocked",
        SICK_GATE=str(gate),
    )
    port = port_of(starting)
    assert ask(port, "/readyz")[1]["hop"] == "start"
    assert ask(port, "/livez") == (200, {"live": True})
    gate.unlink()
    eventually(lambda: is_ready(port), timeout=20)
    gate.touch()
    app = App(fleet.url, namespace=fleet.namespace)
    job = app.enqueue("tests.process.apps.sick.hold", args=(str(gate),))
    eventually(lambda: job.info().started_at, timeout=20)
    starting.terminate()
    eventually(says(port, "/readyz", "stop"), timeout=20)
    assert ask(port, "/livez") == (200, {"live": True})
    gate.unlink()
    assert starting.wait(timeout=30) == 0
    assert job.result(timeout=20) == "held"
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/livez")


def test_an_outage_of_the_broker_is_named_and_nobodys_end(tmp_path: Path) -> None:
    with (
        RedisServer(appendonly=True) as redis,
        Fleet(redis.url, "weather", tmp_path) as fleet,
    ):
        port = port_of(fleet.start("--processes", "1", "--health-port", "0"))
        eventually(lambda: is_ready(port), timeout=20)
        redis.kill()
        assert eventually(says(port, "/readyz", "broker"), timeout=20)
        assert ask(port, "/livez") == (200, {"live": True})
        ran = cli(fleet, "health")
        assert (ran.returncode, ran.stdout) == (4, "")
        assert ran.stderr.startswith("taskrunner: cannot reach Redis")
        redis.restart()
        eventually(lambda: is_ready(port), timeout=30)


SCRIPT = """
import http.client, json
from taskrunner import App, Config
from tests.process.test_probes import is_ready
from taskrunner.testing.waiting import eventually

app = App("memory://", health_port=PORT)

if __name__ == "__main__":
    with app.running(WAY):
        eventually(lambda: is_ready(PORT), timeout=20)
    print("was ready")
"""


@pytest.mark.parametrize("way", ["processes=1", "threads=2"])
def test_an_embedded_node_answers_too(tmp_path: Path, way: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("WAY", way).replace("PORT", str(free_port())))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout == "was ready\n", done.stderr


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
