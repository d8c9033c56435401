"""What of a job is sealed, and that it opens in its own place alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskrunner import App, ConfigError, CryptoError, JobFailed, MessageError, current_job
from taskrunner.brokers.base import JobKey, OutcomeKind
from taskrunner.config import Config
from taskrunner.crypto import Key
from taskrunner.message import Header, Message, unpack
from taskrunner.seals import ERROR, PROGRESS, RESULT, Seals
from tests.unit.worker.one_child import one_child

ONE, TWO = Key("one", os.urandom(32)).text, Key("two", os.urandom(32)).text
MARKER = "a-marker-of-the-user"


def seals(**settings: Any) -> Seals:
    return Seals(Config(**settings))


BOTH_KINDS = pytest.mark.parametrize("kind", ["encryption_keys", "signing_keys"])


def message(job_id: str = "j1", **changes: Any) -> Message:
    header = Header(changes.pop("task", "t"), timeout=3.0, headers=changes.pop("headers", {}))
    return Message(job_id, changes.pop("queue", "q"), header, b"\x92\x01\x80", **changes)


def opened(found: Seals, sent: Message, queue: str = "q", job_id: str = "j1") -> Any:
    return found.opened(*unpack(sent.wire), queue, job_id)


@BOTH_KINDS
def test_a_message_opens_for_its_own_job(kind: str) -> None:
    here = seals(**{kind: (ONE,)})
    sent = here.message(message(headers={"tenant": "7"}))
    assert sent.header.key_id == "one"
    assert sent.header.timeout == 3.0
    headers, body = opened(seals(**{kind: (TWO, ONE)}), sent)
    assert (dict(headers), body) == ({"tenant": "7"}, b"\x92\x01\x80")


@BOTH_KINDS
def test_a_message_of_another_job_queue_or_task_is_refused(kind: str) -> None:
    here = seals(**{kind: (ONE,)})
    sent = here.message(message())
    for place in ({"job_id": "j2"}, {"queue": "r"}):
        with pytest.raises(CryptoError, match="moved here from elsewhere"):
            opened(here, sent, **place)
    with pytest.raises(CryptoError, match="moved here from elsewhere"):
        opened(here, replace(sent, header=replace(sent.header, task="u")))
    # No letter moves from one name to the next.
    with pytest.raises(CryptoError):
        opened(here, here.message(message("1x", queue="q")), queue="q1", job_id="x")


def test_an_encrypted_message_shows_nothing_of_the_user_s() -> None:
    app = App("memory://", encryption_keys=[ONE])

    @app.task(name="t", headers={"tenant": MARKER})
    def greet(name: str) -> None: ...

    seen = [app.seals.message(greet.message(MARKER)) for _ in range(2)]
    assert MARKER.encode() not in seen[0].wire
    assert seen[0].wire[2:] != seen[1].wire[2:]
    assert seen[0].header is seen[1].header, "the header is made once for all of its messages"


def test_an_encrypted_message_takes_no_other_headers() -> None:
    here = seals(encryption_keys=(ONE,))
    sent = here.message(message())
    for added in ({"tenant": "7"}, {"taskrunner.schedule": "s"}):
        with pytest.raises(CryptoError, match="headers that were added"):
            opened(here, replace(sent, header=replace(sent.header, headers=added)))


def test_headers_belong_to_what_is_signed() -> None:
    here = seals(signing_keys=(ONE,))
    sent = here.message(message(headers={"tenant": "7"}))
    with pytest.raises(CryptoError, match="not what was signed"):
        opened(here, replace(sent, header=replace(sent.header, headers={"tenant": "8"})))
    with pytest.raises(CryptoError, match="not what was signed"):
        opened(here, replace(sent, body=b"\x92\x02\x80"))


def test_the_header_of_a_signed_message_is_what_packing_it_would_give() -> None:
    here = seals(signing_keys=(ONE,))
    every: dict[str, Any] = {
        "retries": 1,
        "retry_on": ("a.B",),
        "retention": 1.0,
        "backoff": (1.0, 2.0, 3.0, True),
    }
    more: dict[str, Any] = {
        "unique_key": "u",
        "limit_keys": ("l",),
        "group": "g",
        "fair_key": "f",
        "redact": ("x",),
    }
    full = Header("t", 1.0, headers={"a": "b"}, extra={"zz": 1, "yy": 2, "xx": 3}, **every, **more)
    for header in (Header("t"), Header("t", **every), full, replace(full, extra={})):
        sent = here.message(replace(message(), header=header))
        assert sent.header == replace(header, key_id="one", signature=sent.header.signature)
        assert sent.header.packed == replace(sent.header).packed
        assert unpack(sent.wire)[0] == sent.header
        assert opened(here, sent)[1] == sent.body


def test_the_header_of_encrypted_messages_is_read_once() -> None:
    here = seals(encryption_keys=(ONE,))
    first, second = (here.message(replace(message(), header=Header("t"))) for _ in range(2))
    assert unpack(first.wire)[0] is unpack(second.wire)[0]
    assert unpack(second.wire) == (second.header, second.body)
    cut = second.wire[:9]
    with pytest.raises(MessageError):
        unpack(cut)


def test_with_keys_for_both_a_message_is_encrypted() -> None:
    here = seals(signing_keys=(ONE,), encryption_keys=(TWO,), require_signing=True)
    sent = here.message(message())
    assert (sent.header.key_id, sent.header.signature) == ("two", None)
    assert opened(here, sent)[1] == b"\x92\x01\x80"


@pytest.mark.parametrize(
    ("reader", "writer", "said"),
    [
        ({"encryption_keys": (ONE,), "require_encryption": True}, {}, "is not encrypted, and req"),
        (
            {"encryption_keys": (ONE,), "signing_keys": (TWO,), "require_encryption": True},
            {"signing_keys": (TWO,)},
            "is not encrypted, and require_encryption is set",
        ),
        ({"signing_keys": (ONE,), "require_signing": True}, {}, "is not signed, and require_sign"),
        (
            {"encryption_keys": (ONE,), "require_signing": True},
            {"signing_keys": (TWO,)},
            "signing key 'two' is not known here",
        ),
        ({"signing_keys": (ONE,)}, {"signing_keys": (TWO,)}, "signing key 'two' is not known here"),
        ({"encryption_keys": (ONE,)}, {"encryption_keys": (TWO,)}, "encryption key 'two' is not k"),
        ({}, {"encryption_keys": (TWO,)}, "encryption key 'two' is not known here"),
    ],
)
def test_what_is_required_is_refused_without(
    reader: dict[str, Any], writer: dict[str, Any], said: str
) -> None:
    here, there = seals(**reader), seals(**writer)
    with pytest.raises(CryptoError, match=said):
        opened(here, there.message(message()))
    with pytest.raises(CryptoError, match=said):
        here.plain(RESULT, _of(), there.value(RESULT, "q", "t", "j1", b"\x01"))


def test_nothing_is_required_unless_it_is_said() -> None:
    for keys in ({}, {"encryption_keys": (ONE,)}, {"signing_keys": (ONE,)}):
        assert opened(seals(**keys), message())[1] == b"\x92\x01\x80"
        assert seals(**keys).plain(RESULT, _of(), b"\x01") == b"\x01"
    # What is only signed hides nothing: without signing keys it is read like anything else.
    signed = seals(signing_keys=(ONE,))
    assert opened(seals(), signed.message(message()))[1] == b"\x92\x01\x80"
    assert seals().plain(RESULT, _of(), signed.value(RESULT, "q", "t", "j1", b"\x01")) == b"\x01"


@pytest.mark.parametrize("name", ["require_encryption", "require_signing"])
def test_what_nobody_has_a_key_for_cannot_be_required(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is set, and there are no"):
        seals(**{name: True})


class _Of:
    """A job whose values they are."""

    def __init__(self, job_id: str = "j1") -> None:
        self.queue, self.id, self.wire = "q", job_id, message(job_id).wire


def _of(job_id: str = "j1") -> _Of:
    return _Of(job_id)


@BOTH_KINDS
def test_a_value_opens_for_its_own_job_and_kind(kind: str) -> None:
    here = seals(**{kind: (ONE,)})
    sealed = here.value(RESULT, "q", "t", "j1", b"\x2a")
    assert here.plain(RESULT, _of(), sealed) == b"\x2a"
    for other_kind, of in [(ERROR, _of()), (PROGRESS, _of()), (RESULT, _of("j2"))]:
        with pytest.raises(CryptoError):
            here.plain(other_kind, of, sealed)
    for bad in (sealed[:-1], sealed[:3], sealed[:1], b"\xc1\x07\x01a", b"\xc1\x01\x01\xff"):
        with pytest.raises(CryptoError):
            here.plain(RESULT, _of(), bad)


def test_a_header_that_lost_its_key_or_names_one_for_nothing_is_refused() -> None:
    here = seals(encryption_keys=(ONE,))
    sent = here.message(message())
    with pytest.raises(CryptoError, match="names no key"):
        opened(here, replace(sent, header=replace(sent.header, key_id=None)))
    with pytest.raises(CryptoError, match="not encrypted"):
        opened(here, replace(sent, body=b"\x92\x01\x80"))
    with pytest.raises(CryptoError, match="bound to nothing"):
        opened(here, replace(sent, body=b"\xc1\x01\x09" + sent.body[3:]))


@BOTH_KINDS
def test_a_template_opens_for_the_jobs_of_its_schedule(kind: str) -> None:
    here = seals(**{kind: (ONE,)})
    stored = here.template("nightly", message("", headers={"tenant": "7"}))
    job = replace(stored, id="j9", header=_fired(stored.header, "nightly"))
    headers, body = opened(here, job, job_id="j9")
    assert dict(headers) == {"tenant": "7", "taskrunner.schedule": "nightly"}
    assert body == b"\x92\x01\x80"
    assert here.template_of("nightly", stored) == message("", headers={"tenant": "7"})
    with pytest.raises(CryptoError):
        opened(here, replace(job, header=_fired(stored.header, "hourly")), job_id="j9")
    with pytest.raises(CryptoError):
        here.template_of("hourly", stored)


def _fired(header: Header, schedule: str) -> Header:
    return replace(header, headers={**header.headers, "taskrunner.schedule": schedule})


# -- in a child


def make(**settings: Any) -> tuple[App, Callable[[], Message]]:
    app = App("memory://", **settings)

    @app.task(name="t", retries=0)
    def work(text: str) -> str:
        current_job().progress(1, 2, text)
        if text.startswith("fail"):
            raise ValueError(text)
        return text + current_job().headers.get("tenant", "")

    sent = work.options(headers={"tenant": "7"}).message(MARKER)
    return app, lambda: replace(sent, id="job-1", queue="q")


@BOTH_KINDS
def test_a_child_opens_what_it_runs_and_seals_what_it_says(kind: str) -> None:
    app, made = make(**{kind: [ONE]})
    with one_child(app) as child:
        outcome = child.one(app.seals.message(made()))
        assert outcome.kind is OutcomeKind.SUCCEEDED
        assert outcome.result is not None
        of = _of("job-1")
        assert app.codec.unpack(app.seals.plain(RESULT, of, outcome.result)) == f"{MARKER}7"
        ((_, progress),) = child.progress
        assert app.seals.plain(PROGRESS, of, progress)
        if kind == "encryption_keys":
            assert MARKER.encode() not in outcome.result + progress


@pytest.mark.parametrize(
    ("sender", "settings", "reason"),
    [
        ({"encryption_keys": [TWO]}, {"encryption_keys": [ONE]}, "undecryptable"),
        ({"signing_keys": [TWO]}, {"signing_keys": [ONE]}, "undecryptable"),
        ({}, {"encryption_keys": [ONE], "require_encryption": True}, "unprotected"),
        ({}, {"signing_keys": [ONE], "require_signing": True}, "unprotected"),
    ],
)
def test_a_child_refuses_what_it_cannot_open_and_goes_on(
    sender: dict[str, Any], settings: dict[str, Any], reason: str
) -> None:
    app, made = make(**settings)
    with one_child(app) as child:
        child.give(App("memory://", **sender).seals.message(made()))
        child.give(app.seals.message(replace(made(), id="job-2")))
        refused, fine = child.run()
    assert (refused.kind, refused.reason, refused.started) == (OutcomeKind.FAILED, reason, False)
    assert fine.kind is OutcomeKind.SUCCEEDED
    assert refused.error is not None
    error = app.seals.error(_of("job-1"), refused.error)
    assert error.type == "taskrunner.errors.CryptoError"


# -- for whoever looks


def test_who_has_no_key_is_told_which_one_it_is() -> None:
    app = App("memory://", encryption_keys=[ONE])

    @app.task(name="greet", retries=0)
    def greet(name: str) -> str:
        if name == "nobody":
            raise ValueError(name)
        current_job().progress(1)
        return name

    with app.running(threads=1):
        job, bad = greet.enqueue("Ada"), greet.enqueue("nobody")
        assert job.result(timeout=10) == "Ada"
        with pytest.raises(JobFailed, match="nobody"):
            bad.result(timeout=10)
        assert job.info().args == ("Ada",)
        stranger = App(app.broker)
        with pytest.raises(CryptoError, match="key 'one' is not known here") as caught:
            stranger.job(job.id).result(timeout=1)
        assert caught.value.key_id == "one"
        info = stranger.job(job.id).info()
        assert (info.args, info.kwargs, info.progress, dict(info.headers)) == (None, None, None, {})
        assert "key 'one' is not known here" in (info.unreadable or "")
        assert info.task == greet.name
        with pytest.raises(JobFailed, match="key 'one' is not known here"):
            stranger.job(bad.id).result(timeout=1)
        error = stranger.job(bad.id).info().error
        assert error is not None
        assert "key 'one' is not known here" in error.message
    record = app.broker.get([JobKey("default", job.id)])[0]
    assert record is not None
    assert b"Ada" not in record.wire + (record.result or b"")


def test_schedules_keep_their_arguments_to_themselves() -> None:
    app = App("memory://", encryption_keys=[ONE])

    @app.task(name="greet")
    def greet(name: str) -> str:
        return name + current_job().headers["tenant"]

    said: dict[str, Any] = {"args": (MARKER,), "every": 3600, "headers": {"tenant": "7"}}
    app.schedules.add("s", greet, **said)
    (record,) = app.broker.records("schedule").records
    assert MARKER.encode() not in record.value
    found = app.schedules.get("s")
    assert found is not None
    assert found.args == (MARKER,)
    # Saying the same again changes nothing, whatever the first key is by now.
    rotated = App(app.broker, encryption_keys=[TWO, ONE])
    rotated.task(name=greet.name)(greet.fn)
    rotated.schedules.add("s", rotated.tasks[greet.name], **said)
    assert app.broker.records("schedule").records == [record]
    with app.running(threads=1):
        assert app.schedules.trigger("s").result(timeout=10) == f"{MARKER}7"
    stranger = App(app.broker).schedules.get("s")
    assert stranger is not None
    assert (stranger.args, stranger.task) == (None, greet.name)


def test_every_way_of_submitting_seals() -> None:
    app = App("memory://", encryption_keys=[ONE])

    @app.task(name="greet")
    def greet(name: str) -> None: ...

    async def from_asyncio() -> list[str]:
        one, two = await greet.aenqueue(MARKER), await app.aenqueue("greet", (MARKER,))
        many = await app.aenqueue_many([greet.message(MARKER)])
        return [one.id, two.id, *(job.id for job in many)]

    ids = [greet.enqueue(MARKER).id, app.enqueue("greet", (MARKER,)).id]
    ids += [job.id for job in app.enqueue_many([greet.message(MARKER) for _ in range(3)])]
    ids += asyncio.run(from_asyncio())
    records = app.broker.get([JobKey("default", job_id) for job_id in ids])
    assert len(records) == 8
    for record in records:
        assert record is not None
        assert MARKER.encode() not in record.wire
        assert app.job(record.id).info().args == (MARKER,)
