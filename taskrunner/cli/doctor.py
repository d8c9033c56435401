"""`doctor`: whether the store is sound, and mending it where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from taskrunner.brokers.base import Finding
from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import complain, say, show_json, show_table
from taskrunner.inspector import Inspector, Report

_SHOWN: Final = 200


@click.command()
@click.argument("app", metavar="[APP]", required=False)
@click.option(
    "--queue", "queues", metavar="NAME", multiple=True, help="Only this one; may be repeated."
)
@click.option("--repair", is_flag=True, help="Mend what is wrong.")
@click.option("--yes", is_flag=True, help="Do not ask before.")
@broker_options
@json_option
def doctor(
    app: str | None,
    queues: tuple[str, ...],
    repair: bool,
    yes: bool,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> int:
    """Audit the store, while nodes go on using it, and say what its settings risk.

    APP is wanted only where it says which broker to use. --repair shows what is wrong and asks
    before it mends it; no job is lost by that, and keys that are not taskrunner's are left alone.
    """
    if wants_json and repair and not yes:
        raise click.UsageError("--json with --repair cannot ask: say --yes too")
    with connected(app, broker=broker, namespace=namespace) as found:
        inspector, named = Inspector(found), list(queues) or None
        report = inspector.doctor(named, repair=repair and yes)
        if wants_json:
            show_json(_as_map(report))
            return _exit(report)
        _show(report)
        if repair and not yes and report.findings and _agrees(report):
            report = inspector.doctor(named, repair=True)
            _show(report)
        return _exit(report)


def _agrees(report: Report) -> bool:
    try:
        return click.confirm(f"Mend {_count(report.findings)}?", err=True)
    except click.Abort:
        complain("nothing was mended")
        return False


def _exit(report: Report) -> Exit:
    if report.left or report.risks:
        return Exit.DAMAGED
    return Exit.REPAIRED if report.findings else Exit.OK


def _show(report: Report) -> None:
    for remark in report.remarks:
        say(f"{'RISK ' if remark.is_risk else ''}{remark.topic}: {remark.text}")
    if not report.findings:
        say("nothing is wrong")
        return
    say("")
    rows = [_row(found) for found in report.findings[:_SHOWN]]
    show_table(("what", "queue", "which", "mended", "in words"), rows)
    if len(report.findings) > _SHOWN:
        complain(f"… and {len(report.findings) - _SHOWN} more; --json shows all")
    say(f"\n{_count(report.findings)}, {len(report.findings) - len(report.left)} mended")


def _row(found: Finding) -> tuple[str, str, str, str, str]:
    mended = "yes" if found.repaired else "no"
    return str(found.kind), found.queue, found.subject, mended, found.detail


def _count(findings: Sequence[Finding]) -> str:
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"


def _as_map(report: Report) -> dict[str, object]:
    return {
        "findings": [
            {
                "kind": str(found.kind),
                "queue": found.queue,
                "subject": found.subject,
                "detail": found.detail,
                "repaired": found.repaired,
            }
            for found in report.findings
        ],
        "remarks": [
            {"topic": remark.topic, "text": remark.text, "is_risk": remark.is_risk}
            for remark in report.remarks
        ],
    }
