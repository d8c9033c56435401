"""The program: its commands, and how it ends.

Every command raises what goes wrong. `execute` alone turns that into a message and an exit code: a
user's own mistake is a sentence, never a traceback of ours.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping, Sequence
from typing import Final

import click

from taskrunner._version import __version__
from taskrunner.cli import interrupts
from taskrunner.cli.exits import Exit, exit_of
from taskrunner.cli.output import complain
from taskrunner.errors import AppNotFound, ConfigError, TaskrunnerError
from taskrunner.naming import nearest

# Imported when they are used: `status` needs nothing of what `run` does.
_COMMANDS: Final[Mapping[str, str]] = {
    "run": "taskrunner.cli.run",
    "enqueue": "taskrunner.cli.enqueue",
    "status": "taskrunner.cli.jobs",
    "cancel": "taskrunner.cli.jobs",
    "why": "taskrunner.cli.why",
    "retry": "taskrunner.cli.desk",
    "delete": "taskrunner.cli.desk",
    "reschedule": "taskrunner.cli.desk",
    "jobs": "taskrunner.cli.listing",
    "queues": "taskrunner.cli.queues",
    "stats": "taskrunner.cli.queues",
    "purge": "taskrunner.cli.bulk",
    "requeue": "taskrunner.cli.bulk",
    "pause": "taskrunner.cli.limits",
    "resume": "taskrunner.cli.limits",
    "limits": "taskrunner.cli.limits",
    "nodes": "taskrunner.cli.nodes",
    "control": "taskrunner.cli.nodes",
    "schedules": "taskrunner.cli.schedules",
    "api": "taskrunner.cli.api",
    "keys": "taskrunner.cli.keys",
    "audit": "taskrunner.cli.audit",
    "health": "taskrunner.cli.health",
    "check": "taskrunner.cli.check",
    "new-key": "taskrunner.cli.newkey",
    "rekey": "taskrunner.cli.rekey",
    "doctor": "taskrunner.cli.doctor",
    "bench": "taskrunner.cli.bench",
}


class Program(click.Group):
    """Finds a command in its module and names the nearest one where there is none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            ctx.fail(f"there is no command {cmd_name!r}: {nearest(cmd_name, _COMMANDS)}")
        command: click.Command = getattr(
            importlib.import_module(module), cmd_name.replace("-", "_")
        )
        interrupts.raise_()
        return command


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`taskrunner shop.tasks:app --processes 4`, a first word with a colon, is short for run.",
)
@click.version_option(__version__, prog_name="taskrunner", message="%(prog)s %(version)s")
def program() -> None:
    """Run the jobs of a task queue, submit them, and see what became of each."""


def execute(argv: Sequence[str]) -> int:
    """Run one command line; the exit code.

    Raises nothing but BrokenPipeError, where whoever reads the output has gone.
    """
    try:
        with program.make_context("taskrunner", _expanded(argv)) as context:
            result = program.invoke(context)
        return Exit.OK if result is None else int(result)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except TaskrunnerError as error:
        _explain(error)
        return exit_of(error)
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001  a mistake of ours, which its finder should be able to report
        complain(f"taskrunner {__version__} made a mistake:\n{traceback.format_exc()}")
        return Exit.INTERNAL


def _expanded(argv: Sequence[str]) -> list[str]:
    """The arguments with what they are short for spelt out."""
    if not argv:
        return ["--help"]
    first = argv[0]
    return ["run", *argv] if ":" in first and not first.startswith("-") else list(argv)


def _explain(error: TaskrunnerError) -> None:
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        complain(f"taskrunner: {len(error.problems)} settings are wrong:")
        for problem in error.problems:
            complain(f"  {problem}")
        return
    complain(f"taskrunner: {error}")
    if isinstance(error, AppNotFound) and error.user_traceback:
        complain(f"\n{error.user_traceback.rstrip()}")
