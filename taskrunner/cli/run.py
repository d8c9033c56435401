"""`run`: the supervisor of an application, until it is told to stop."""

from __future__ import annotations

from typing import Any

import click

from taskrunner import log
from taskrunner.app import App
from taskrunner.cli import interrupts
from taskrunner.cli.beside import ServiceBeside
from taskrunner.cli.connect import broker_options, ping, settle
from taskrunner.events import Events
from taskrunner.supervisor.node import run as supervise

# Each option is a setting, and its text is judged with all other settings, so that all mistakes
# are reported together.
_LIMITS = (
    ("--shutdown-timeout", "shutdown_timeout_s", "Seconds that running jobs may take to finish."),
    ("--grace", "grace_s", "Seconds between asking a job to stop and killing its process."),
    ("--lease", "lease_s", "Seconds without a sign of life until others take this node's jobs."),
)


_REPLACED = (
    ("--max-jobs", "max_jobs", "N", "Jobs after which a process is replaced by a fresh one."),
    ("--max-memory", "max_memory_bytes", "SIZE", "The same for its memory, such as 512MiB."),
)


def _limit_options(command: Any) -> Any:
    for flag, name, text in reversed(_LIMITS):
        command = click.option(flag, name, metavar="SECONDS", help=text)(command)
    for flag, name, metavar, text in reversed(_REPLACED):
        command = click.option(flag, name, metavar=metavar, help=text)(command)
    return command


@click.command()
@click.argument("app", metavar="APP")
@click.option(
    "--queues",
    metavar="NAMES",
    help="Queues to serve with their weights: critical=6,default=3,low=1. [default: every queue]",
)
@click.option("--strict", is_flag=True, help="Drain queues by weight instead of sharing by it.")
@click.option(
    "--processes",
    metavar="N|LOW..HIGH",
    help="Worker processes; as many of a range as the load needs. [default: one for each CPU]",
)
@click.option("--concurrency", metavar="N", help="Jobs at once in each process. [default: 1]")
@click.option(
    "--prefetch", metavar="auto|N", help="Jobs given to a process ahead of time. [default: auto]"
)
@broker_options
@_limit_options
@click.option("--health-port", metavar="PORT", help="Answer /livez and /readyz on this port.")
@click.option("--health-host", metavar="HOST", help="At this address. [default: 127.0.0.1]")
@click.option("--api-port", metavar="PORT", help="Serve the HTTP API on this port, too.")
@click.option("--api-host", metavar="HOST", help="At this address. [default: 127.0.0.1]")
@click.option(
    "--api-key-file", metavar="FILE", help="With memory://: write the API key there, not here."
)
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="text or json.")
def run(app: str, strict: bool, **arguments: str | None) -> None:
    """Run the jobs of APP, which is MODULE:ATTRIBUTE, found from the current folder.

    TERM or Ctrl-C stops it: it takes no more jobs and lets the running ones finish; a second one
    skips the waiting. What is not finished goes back to its queue. HUP loads new code without a
    gap; TTIN and TTOU start a process more and end one; USR1 logs its state.
    """
    found = settle(app, {**arguments, "strict": strict or None})
    try:
        # Later an outage is ridden out; a wrong address at the start is better said at once.
        ping(found)
    finally:
        found.close()
    restore = log.configure(found.config.log_level, found.config.log_format)
    events = Events()
    log.EventLog(events)
    try:
        if not found.broker.capabilities.shared:
            log.LOGGER.warning("%s", _means(found))
        beside = None if found.config.api_port is None else ServiceBeside(found, events)
        interrupts.check()
        supervise(app, found.config, events, beside)
    finally:
        restore()


def _means(app: App) -> str:
    roads = "from inside its own tasks"
    if app.config.api_port is not None:
        roads += " or over HTTP"
    return (
        f"the broker is {app.config.shown('broker')}: it lives in this process, so only jobs that"
        f" are submitted {roads} can run, and nothing outlives it; for jobs from"
        " elsewhere use one that is shared, such as redis://localhost:6379/0"
    )
