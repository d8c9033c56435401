from __future__ import annotations

import logging
from typing import Any

import pytest

from taskrunner.cli import run as run_module
from taskrunner.cli.exits import Exit
from taskrunner.config import Config
from taskrunner.errors import BrokerUnavailable, StartError
from taskrunner.events import Events, NodeStopped
from tests.unit.cli.conftest import Cli


class Supervisor:
    """Stands where the supervisor would, and remembers what it was told."""

    def __init__(self) -> None:
        self.target = ""
        self.config = Config()
        self.raises: Exception | None = None

    def __call__(self, target: str, config: Config, events: Events, beside: object = None) -> None:
        self.target, self.config = target, config
        events.emit(NodeStopped())
        if self.raises is not None:
            raise self.raises


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    found = Supervisor()
    monkeypatch.setattr(run_module, "supervise", found)
    return found


def test_every_option_reaches_the_supervisor(cli: Cli, supervisor: Supervisor) -> None:
    options: dict[str, tuple[str, Any]] = {
        "--queues": ("a=2,b", ("queues", (("a", 2), ("b", 1)))),
        "--processes": ("3", ("processes", 3)),
        "--concurrency": ("4", ("concurrency", 4)),
        "--prefetch": ("5", ("prefetch", 5)),
        "--broker": ("test://x", ("broker", "test://x")),
        "--namespace": ("shop", ("namespace", "shop")),
        "--shutdown-timeout": ("6.5", ("shutdown_timeout_s", 6.5)),
        "--grace": ("7", ("grace_s", 7.0)),
        "--lease": ("8", ("lease_s", 8.0)),
        "--log-level": ("error", ("log_level", "error")),
        "--log-format": ("json", ("log_format", "json")),
    }
    words = [word for flag, (text, _) in options.items() for word in (flag, text)]
    assert cli("run", "shop:app", "--strict", *words).code == Exit.OK
    assert supervisor.target == "shop:app"
    assert supervisor.config.strict
    for _, (name, value) in options.values():
        assert getattr(supervisor.config, name) == value
        assert supervisor.config.source(name) == "command line"


def test_without_options_the_other_sources_count(cli: Cli, supervisor: Supervisor) -> None:
    cli.write("taskrunner.toml", "strict = true\nprocesses = 7")
    assert cli("shop:app").code == Exit.OK
    assert supervisor.config.strict
    assert supervisor.config.processes == 7
    assert supervisor.config.source("broker") == "TASKRUNNER_BROKER"


def test_what_the_app_says_counts_below_the_command_line(cli: Cli, supervisor: Supervisor) -> None:
    cli.write("mine.py", "from taskrunner import App\napp = App('test://', lease_s=4, grace_s=3)")
    assert cli("mine:app", "--lease", "9").code == Exit.OK
    assert (supervisor.config.lease_s, supervisor.config.source("lease_s")) == (9, "command line")
    assert (supervisor.config.grace_s, supervisor.config.source("grace_s")) == (3, "App(...)")


def test_all_mistakes_are_reported_before_anything_starts(cli: Cli, supervisor: Supervisor) -> None:
    ran = cli("shop:app", "--processes", "0", "--lease", "soon", "--log-level", "loud")
    assert ran.code == Exit.CONFIG
    assert ran.err.splitlines() == [
        "taskrunner: 3 settings are wrong:",
        "  --processes='0': expected a whole number from 1 to 1024, or a range such as 2..16",
        "  --lease='soon': expected seconds (fractions count), 0.1 or more",
        "  --log-level='loud': expected one of debug, info, warning, error",
    ]
    assert supervisor.target == ""


def test_memory_says_in_one_line_what_it_means(cli: Cli, supervisor: Supervisor) -> None:
    ran = cli("shop:app", "--broker", "memory://")
    assert ran.code == Exit.OK
    (line,) = [line for line in ran.err.splitlines() if "memory://" in line]
    assert "submitted from inside its own tasks" in line
    assert "redis://" in line


def test_a_shared_broker_needs_no_such_line(cli: Cli, supervisor: Supervisor) -> None:
    assert "its own tasks" not in cli("shop:app").err


def test_events_are_logged_and_the_logger_left_as_it_was(cli: Cli, supervisor: Supervisor) -> None:
    logger = logging.getLogger("taskrunner")
    before = logger.level, logger.propagate, list(logger.handlers)
    ran = cli("shop:app")
    assert ran.err.rstrip().endswith("stopped")
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StartError("the children end at once"), Exit.START),
        (BrokerUnavailable("nobody at redis://:secret@host"), Exit.BROKER),
    ],
)
def test_what_stops_the_supervisor_is_one_line(
    cli: Cli, supervisor: Supervisor, error: Exception, code: Exit
) -> None:
    supervisor.raises = error
    ran = cli("shop:app")
    assert ran.code == code
    assert ran.err.splitlines()[-1].startswith("taskrunner: ")
    assert "secret" not in ran.err


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nothing:app", "there is no module 'nothing'"),
        ("shop:nothing", "shop has no attribute 'nothing'; Apps in it: app"),
        ("shop:other", "shop:other is not an App but of type int; Apps in it: app"),
        (":app", "expected module:attribute"),
    ],
)
def test_an_app_that_is_none_is_one_line(
    cli: Cli, supervisor: Supervisor, target: str, says: str
) -> None:
    ran = cli("run", target)
    assert ran.code == Exit.CONFIG
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_module_that_raises_shows_its_own_traceback(cli: Cli, supervisor: Supervisor) -> None:
    cli.write("broken.py", "def helper():\n    raise ValueError('my own mistake')\nhelper()\n")
    ran = cli("broken:app")
    assert ran.code == Exit.CONFIG
    assert ran.err.startswith("taskrunner: importing broken raised ValueError: my own mistake\n")
    assert 'broken.py", line 2, in helper' in ran.err
    assert "registry.py" not in ran.err
    assert supervisor.target == ""
