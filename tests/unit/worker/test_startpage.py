"""The page that a child shares with its supervisor."""

from __future__ import annotations

import os

from taskrunner.worker.startpage import StartPage


def test_the_other_side_sees_starts_and_ends() -> None:
    ours = StartPage.create(2)
    theirs = StartPage.attach(os.dup(ours.fd), 2)
    assert [slot.number for slot in ours.slots()] == [0, 0]
    theirs.begin(1, 42)
    empty, busy = ours.slots()
    assert (empty.number, busy.number, busy.running) == (0, 42, True)
    assert busy.started_ns > 0
    theirs.end(1)
    assert ours.slots()[1] == busy._replace(running=False)
    for page in (ours, theirs):
        page.close_fd()
        page.close()


def test_it_outlives_the_process_that_wrote_it() -> None:
    page = StartPage.create(1)
    pid = os.fork()
    if pid == 0:
        page.begin(0, 7)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert (page.slots()[0].number, page.slots()[0].running) == (7, True)
    page.close_fd()
    page.close()


def test_starts_are_allowed_only_within_the_lease() -> None:
    page = StartPage.create(1)
    assert not page.may_start()
    page.lease_until(1e9)
    assert page.may_start()
    page.lease_until(0.0)
    assert not page.may_start()
    page.close_fd()
    page.close()
