"""`run --api-port`: a supervisor and the service in one process, and a store that nobody else reaches."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

from taskrunner.cli.exits import Exit
from taskrunner.testing.waiting import eventually
from tests.api.serving import ask
from tests.process.test_command_line import Start, ended, start

__all__ = ["start"]

ALONE = ("run", "shop:app", "--broker", "memory://", "--processes", "1")


def test_one_command_gives_a_service_that_works(start: Start) -> None:
    node = start(*ALONE, "--api-port", "0")
    assert node.stderr is not None
    lines = [node.stderr.readline() for _ in range(3)]
    port = int(re.search(r"the API on http://127.0.0.1:(\d+)", "".join(lines))[1])  # type: ignore[index]
    key = re.search(r"its key, shown this once: (\S+)", "".join(lines))[1]  # type: ignore[index]
    bearer = {"authorization": f"Bearer {key}"}
    assert ask(port, "GET", "/healthz").status == 200
    body = {"task": "shop.add", "args": [2]}
    job = ask(port, "POST", "/v1/jobs", body=body, headers=bearer)
    assert job.status == 202
    place = job.headers["location"].replace("?", "/result?wait=30&")
    result = ask(port, "GET", place, headers=bearer)
    assert (result.status, result.json["state"]) == (200, "succeeded"), result.json
    counted = 'taskrunner_node_runs_total{outcome="succeeded",queue="default",task="shop.add"} 1.0'
    assert counted in ask(port, "GET", "/metrics", headers=bearer).body.decode()
    eventually(lambda: ask(port, "GET", "/readyz").status == 200, timeout=30)
    node.send_signal(signal.SIGTERM)
    code, _, err = ended(node)
    assert code == Exit.OK, err
    assert err.count(key) == 0


def test_the_key_may_be_written_where_its_owner_alone_reads_it(
    start: Start, tmp_path: Path
) -> None:
    node = start(*ALONE, "--api-port", "0", "--api-key-file", "key")
    assert node.stderr is not None
    eventually((tmp_path / "key").exists, timeout=30)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    key = (tmp_path / "key").read_text().strip()
    node.send_signal(signal.SIGTERM)
    _, out, err = ended(node)
    assert key not in out + err


def test_a_port_that_is_taken_is_said_at_once(start: Start) -> None:

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = ended(start(*ALONE, "--api-port", str(port)))
    assert (code, "cannot listen" in err) == (Exit.START, True)
