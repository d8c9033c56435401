"""What every result backend must do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from taskrunner.backends.base import ResultBackend, ResultKey, StoredResult
from taskrunner.errors import OptionError
from taskrunner.testing.waiting import eventually

KEY = ResultKey("q", "a", "n1", 1)
MANY = 5000


class BackendTests:
    make_backend: ClassVar[Callable[..., ResultBackend]]
    """Answers an empty backend. A class attribute (a function that takes no `self`: use
    staticmethod), or else a fixture of this name that answers such a function."""

    @pytest.fixture
    def backend(self, request: pytest.FixtureRequest) -> Iterator[ResultBackend]:
        try:
            make = request.getfixturevalue("make_backend")
        except pytest.FixtureLookupError:
            make = self.make_backend
        backend: ResultBackend = make()
        yield backend
        backend.close()

    def test_what_is_stored_is_got(self, backend: ResultBackend) -> None:
        values = {KEY: b"", KEY._replace(id="b"): b"\x00\xff", KEY._replace(id="c"): b"x" * 100_000}
        backend.store([StoredResult(key, value, 60.0) for key, value in values.items()])
        assert backend.get(list(values)) == list(values.values())

    @pytest.mark.parametrize(
        "other",
        [
            KEY._replace(queue="r"),
            KEY._replace(id="b"),
            KEY._replace(node="n2"),
            KEY._replace(number=2),
            ResultKey("q", "a:n1", "", 1),
        ],
    )
    def test_a_result_belongs_to_one_delivery(
        self, backend: ResultBackend, other: ResultKey
    ) -> None:
        backend.store([StoredResult(KEY, b"mine", 60.0)])
        assert backend.get([other, KEY]) == [None, b"mine"]
        backend.store([StoredResult(other, b"other", 60.0)])
        assert backend.get([other, KEY]) == [b"other", b"mine"]

    def test_the_same_key_again_replaces(self, backend: ResultBackend) -> None:
        backend.store([StoredResult(KEY, b"old", 60.0), StoredResult(KEY, b"new", 60.0)])
        assert backend.get([KEY]) == [b"new"]
        backend.store([StoredResult(KEY, b"newest", 60.0)])
        backend.store([StoredResult(KEY, b"newest", 60.0)])
        assert backend.get([KEY]) == [b"newest"]

    def test_what_is_removed_is_gone(self, backend: ResultBackend) -> None:
        other = KEY._replace(id="b")
        backend.store([StoredResult(KEY, b"1", 60.0), StoredResult(other, b"2", 60.0)])
        backend.remove([KEY, KEY._replace(id="unknown")])
        backend.remove([KEY])
        assert backend.get([KEY, other]) == [None, b"2"]

    def test_a_result_goes_when_its_time_is_up(self, backend: ResultBackend) -> None:
        other = KEY._replace(id="b")
        backend.store([StoredResult(KEY, b"1", 0.02), StoredResult(other, b"2", 60.0)])
        eventually(lambda: backend.get([KEY]) == [None], timeout=5.0)
        assert backend.get([other]) == [b"2"]

    def test_nothing_to_do(self, backend: ResultBackend) -> None:
        backend.store([])
        backend.remove([])
        assert backend.get([]) == []

    def test_five_thousand_at_once(self, backend: ResultBackend) -> None:
        keys = [KEY._replace(number=n) for n in range(MANY)]
        backend.store([StoredResult(key, b"%d" % key.number, 60.0) for key in keys])
        assert backend.get(keys) == [b"%d" % n for n in range(MANY)]
        backend.remove(keys)
        assert backend.get(keys) == [None] * MANY

    def test_from_many_threads(self, backend: ResultBackend) -> None:
        def store(node: str) -> None:
            for number in range(100):
                backend.store([StoredResult(ResultKey("q", "a", node, number), b"x", 60.0)])

        threads = [threading.Thread(target=store, args=(f"n{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20.0)
        keys = [ResultKey("q", "a", f"n{n}", number) for n in range(4) for number in range(100)]
        assert backend.get(keys) == [b"x"] * 400

    def test_it_answers_also_after_it_was_closed(self, backend: ResultBackend) -> None:
        backend.ping()
        backend.close()
        backend.close()
        backend.ping()

    def test_a_url_of_another_kind_is_refused(self, backend: ResultBackend) -> None:
        with pytest.raises(OptionError, match="gopher"):
            type(backend).from_url("gopher://x", namespace="n")
