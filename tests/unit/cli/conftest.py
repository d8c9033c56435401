"""The program in this process, beside a broker that pretends to be shared."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, registry
from taskrunner.brokers.base import Limits
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.cli.program import execute

SHOP = """
from taskrunner import App
app = App()
other = 5

@app.task
def add(a, b=1): return a + b

@app.task(queue="mail")
async def send(to): ...
"""


class SharedBroker(MemoryBroker):
    """Every URL `test://` of this process leads to the same store."""

    capabilities = replace(MemoryBroker.capabilities, shared=True)
    schemes = ("test",)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Cli:
    """Runs command lines in a folder of their own, where `shop.py` declares an App."""

    folder: Path
    broker: SharedBroker
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *argv: str) -> Ran:
        self.capsys.readouterr()
        code = execute(argv)
        out, err = self.capsys.readouterr()
        return Ran(code, out, err)

    @property
    def app(self) -> App:
        """A client of the same store."""
        return App(self.broker)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    broker = SharedBroker()

    class One(SharedBroker):
        @classmethod
        def from_url(cls, url: str, *, namespace: str, limits: Limits) -> Any:
            return broker

    monkeypatch.setitem(registry._registered_brokers, "test", One)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in os.environ:
        if variable.startswith("TASKRUNNER_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("TASKRUNNER_BROKER", "test://")
    before = set(sys.modules)
    cli = Cli(tmp_path, broker, capsys)
    cli.write("shop.py", SHOP)
    yield cli
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
