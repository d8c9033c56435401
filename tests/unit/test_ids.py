from __future__ import annotations

import os
import threading

import pytest

from taskrunner import ids


def test_an_id_is_26_characters_of_crockfords_alphabet() -> None:
    found = ids.new_id()
    assert len(found) == 26
    assert set(found) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_ids_sort_by_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [0.0, 0.001, 1.0, 1_700_000_000.0, 1_700_000_000.001, 2.0**45 / 1000]
    made = []
    for moment in times:
        monkeypatch.setattr(ids, "_wall", lambda moment=moment: moment)
        made.append(ids.new_id())
    assert made == sorted(made)
    assert len({found[:10] for found in made}) == len(times)


def test_threads_never_get_the_same_id() -> None:
    made: list[str] = []

    def make() -> None:
        made.extend([ids.new_id() for _ in range(2000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    ids.new_id()  # fills the pool that a child would inherit
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(ids.new_id()[10:] for _ in range(32)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    assert len(theirs) == 32 * 16
    ours = {ids.new_id()[10:] for _ in range(64)}
    assert ours.isdisjoint(theirs[at : at + 16] for at in range(0, len(theirs), 16))
