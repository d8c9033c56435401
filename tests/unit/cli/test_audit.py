from __future__ import annotations

import json
from dataclasses import replace

from taskrunner.access.audit import SUBMIT, Entry, Trail
from taskrunner.cli.exits import Exit
from tests.unit.cli.conftest import Cli

ENTRY = Entry(
    at=1_700_000_000.0,
    who="key:abc",
    name="billing",
    address="10.0.0.1",
    action="cancel",
    status=200,
    queue="mail",
    jobs=("one", "two", "three", "four"),
)


def test_what_was_changed_is_listed_the_newest_first(cli: Cli) -> None:
    kept = Trail(cli.broker, retention=1e9, most=10)
    kept.add(ENTRY)
    kept.add(replace(ENTRY, at=ENTRY.at + 1, action=SUBMIT, status=403, count=7, jobs=()))
    ran = cli("audit", "shop:app")
    assert ran.code == Exit.OK
    head, first, second = ran.out.splitlines()
    assert head.split() == ["when", "who", "from", "what", "to", "outcome"]
    assert "submit (7 times)" in first
    assert "refused (403)" in first
    assert "billing (key:abc)  10.0.0.1" in second
    assert "one, two, three and 1 more in mail" in second
    listed = json.loads(cli("audit", "shop:app", "--json", "--limit", "1").out)
    assert [one["action"] for one in listed] == [SUBMIT]


def test_nothing_was_changed(cli: Cli) -> None:
    ran = cli("audit", "shop:app")
    assert (ran.code, ran.out) == (Exit.OK, "")
    assert "nothing was changed" in ran.err
    assert cli("audit", "shop:app", "--limit", "0").code == Exit.USAGE
