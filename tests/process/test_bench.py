"""`taskrunner bench` as a user runs it: real nodes, a table, a picture, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from redis import Redis

from taskrunner.testing.processes import is_alive, with_environ
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually

pytestmark = [pytest.mark.needs_redis, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
QUICK = ("--processes", "1", "--concurrency", "1,2", "--prefetch", "auto", "--seconds", "0.3")
TASK = """
from taskrunner import App
app = App()

@app.task(name="add")
def add(a, *, b):
    return a + b

@app.task(name="boom")
def boom():
    raise ValueError("it broke")
"""


@pytest.fixture
def store(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with contextlib.closing(redis_server.client()) as client:
        client.set("stranger", "stays")
        yield client


@pytest.fixture
def bench(tmp_path: Path, redis_url: str, store: Redis) -> Iterator[Bench]:
    (tmp_path / "shop.py").write_text(TASK)
    made = Bench(tmp_path, redis_url)
    yield made
    assert eventually(lambda: not made.left(), timeout=30), made.left()


class Bench:
    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.mark = folder.name
        self.environ = {
            **os.environ, "TASKRUNNER_BROKER": url, "PYTHONPATH": str(ROOT), "MARK": self.mark,
        }  # fmt: skip

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "taskrunner", "bench", "shop:app", *options],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> tuple[int, str, str]:
        process = self.start(*options)
        out, err = process.communicate(timeout=150)
        return process.returncode, out, err

    def left(self) -> list[int]:
        return [pid for pid in with_environ("MARK", self.mark) if is_alive(pid)]


def test_it_measures_recommends_draws_and_cleans_up(bench: Bench, store: Redis) -> None:
    code, out, err = bench.run(
        *("--task", "add", "--args", "[1]", "--kwargs", '{"b": 2}', "--json"), *QUICK
    )
    assert code == 0, err
    found = json.loads(out)
    assert [trial["concurrency"] for trial in found["trials"]] == [1, 2]
    assert all(trial["jobs_per_s"] > 0 and trial["failed"] == 0 for trial in found["trials"])
    assert found["recommended"]["processes"] == 1
    assert ElementTree.parse(bench.folder / "bench.svg").getroot().tag.endswith("svg")
    assert "2/2" in err
    assert store.keys("*") == [b"stranger"]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(
    bench: Bench, store: Redis, by: signal.Signals
) -> None:
    process = bench.start(
        *("--task", "boom", "--processes", "1", "--prefetch", "auto", "--seconds", "100")
    )
    eventually(lambda: _is_running(store), timeout=60)
    process.send_signal(by)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert store.keys("*") == [b"stranger"]
    assert not (bench.folder / "bench.svg").exists()


def _is_running(store: Redis) -> bool:
    for key in store.scan_iter("{bench-*:bench}:stats"):
        if int(store.hget(key, "failures") or 0):
            return True
    return False


def test_mistakes_are_sentences_and_start_nothing(bench: Bench, store: Redis) -> None:
    code, _, err = bench.run()
    assert code == 2
    assert "add, boom" in err
    assert "Traceback" not in err
    assert store.keys("*") == [b"stranger"]
