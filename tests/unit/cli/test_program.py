from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskrunner import errors
from taskrunner._version import __version__
from taskrunner.cli import jobs, program
from taskrunner.cli.exits import Exit, exit_of
from tests.unit.cli.conftest import Cli

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "command-line.md"


def test_without_arguments_it_shows_its_commands(cli: Cli) -> None:
    ran = cli()
    assert ran.code == Exit.OK
    assert all(command in ran.out for command in program._COMMANDS)


@pytest.mark.parametrize("command", program._COMMANDS)
def test_every_command_has_help_and_is_in_the_guide(cli: Cli, command: str) -> None:
    ran = cli(command, "-h")
    assert ran.code == Exit.OK
    assert f"taskrunner {command}" in ran.out
    assert f"## `{command}" in GUIDE.read_text()
    for flag in re.findall(r"--[a-z-]+", ran.out):
        assert flag in GUIDE.read_text() or flag == "--help"


def test_it_tells_its_version(cli: Cli) -> None:
    assert cli("--version").out == f"taskrunner {__version__}\n"


def test_an_unknown_command_names_the_nearest(cli: Cli) -> None:
    ran = cli("cancle")
    assert ran.code == Exit.USAGE
    assert "there is no command 'cancle': did you mean 'cancel'?" in ran.err


@pytest.mark.parametrize("argv", [("status",), ("status", "x", "--nope"), ("--nope",)])
def test_a_command_line_that_is_not_one_is_a_usage_error(cli: Cli, argv: tuple[str, ...]) -> None:
    ran = cli(*argv)
    assert ran.code == Exit.USAGE
    assert "Error: " in ran.err


def test_a_first_word_with_a_colon_is_short_for_run() -> None:
    assert program._expanded(["shop.tasks:app", "--strict"]) == [
        "run",
        "shop.tasks:app",
        "--strict",
    ]
    assert program._expanded(["status", "a:b"]) == ["status", "a:b"]
    assert program._expanded(["--a:b"]) == ["--a:b"]


def test_ctrl_c_is_a_code_and_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "connected", interrupt)
    ran = cli("status", "x")
    assert ran.code == Exit.INTERRUPTED
    assert ran.err.strip() == "interrupted"


def test_a_mistake_of_ours_shows_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("redis://:secret@host")

    monkeypatch.setattr(jobs, "connected", fail)
    ran = cli("status", "x")
    assert ran.code == Exit.INTERNAL
    assert "Traceback" in ran.err
    assert "secret" not in ran.err


def test_a_reader_that_went_away_is_left_to_main(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(jobs, "connected", fail)
    with pytest.raises(BrokenPipeError):
        cli("status", "x")


# -- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.JobFailed(), Exit.JOB_FAILED),
        (errors.JobCancelled(), Exit.JOB_FAILED),
        (errors.JobExpired(), Exit.JOB_FAILED),
        (errors.ResultTimeout(), Exit.TIMEOUT),
        (errors.JobNotFound(), Exit.NOT_FOUND),
        (errors.AmbiguousJob(), Exit.USAGE),
        (errors.DuplicateJob(), Exit.REFUSED),
        (errors.BrokerUnavailable(), Exit.BROKER),
        (errors.BrokerFull(), Exit.BROKER),
        (errors.ConfigError(["x"]), Exit.CONFIG),
        (errors.AppNotFound(), Exit.CONFIG),
        (errors.StartError(), Exit.START),
        (errors.OptionError(), Exit.USAGE),
        (errors.ArgumentError(), Exit.USAGE),
        (errors.PayloadTooLarge(), Exit.USAGE),
        (errors.UnknownTask(), Exit.USAGE),
        (errors.TaskrunnerError(), Exit.INTERNAL),
    ],
)
def test_each_error_has_its_code(error: errors.TaskrunnerError, code: Exit) -> None:
    assert exit_of(error) is code


def test_the_guide_lists_the_codes_with_what_they_mean() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", GUIDE.read_text(), re.M)
    assert rows == [(str(int(code)), code.meaning) for code in Exit]
