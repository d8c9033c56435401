"""Each script is one documented .lua file behind one method, and names only documented keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha1
from importlib import resources
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError

from taskrunner.brokers.redis.keys import QUEUE_KEYS, QUEUE_PREFIXES, Keys
from taskrunner.brokers.redis.scripts import Scripts
from taskrunner.brokers.redis.texts import NAMES, Script

FOLDER = resources.files("taskrunner.brokers.redis")
FILES = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".lua"))


def read(file: str) -> str:
    return (FOLDER / file).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    header = re.match(r"#!lua[^\n]*\n((?:--[^\n]*\n)+)", read(f"{name}.lua"))
    assert header is not None
    assert "-- KEYS[1]" in header[1]
    assert "-- Returns" in header[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_script_has_a_method_of_its_name(name: str) -> None:
    assert callable(getattr(Scripts, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_uses_no_argument_that_its_header_does_not_name(name: str) -> None:
    text = read(f"{name}.lua")
    parts = re.findall(r"^-- include: (.*)$", text, re.MULTILINE)
    included = "".join(read(f"{part}.lua") for line in parts for part in line.split())
    header, _, body = (text + included).partition("\nlocal")
    documented = set(re.findall(r"^-- ((?:KEYS|ARGV)\[\d+)", text + included, re.MULTILINE))
    used = set(re.findall(r"((?:KEYS|ARGV)\[\d+)\]", body))
    assert used <= documented, header


@pytest.mark.parametrize("file", FILES)
def test_a_script_names_only_keys_of_the_map(file: str) -> None:
    named = set(re.findall(r"P \.\. '([^']+)'", read(file)))
    unknown = {key for key in named if key not in QUEUE_KEYS | QUEUE_PREFIXES}
    assert unknown == set()


def test_every_key_of_the_map_is_used() -> None:
    text = "".join(read(file) for file in FILES)
    quoted = {key for key in QUEUE_KEYS | QUEUE_PREFIXES if f"'{key}'" in text}
    # The meta key comes as KEYS[1], and only the backend has the last.
    assert {*QUEUE_KEYS, *QUEUE_PREFIXES} - quoted == {"meta", "kept:"}


@pytest.mark.parametrize("name", NAMES)
def test_older_servers_get_a_text_without_a_first_line_that_they_cannot_read(name: str) -> None:
    script = Script.read(name)
    assert script.modern.startswith(b"#!lua")
    assert b"#!" not in script.plain
    assert (b"allow-oom" in script.modern.splitlines()[0]) == (b":none" in script.plain)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_makes_no_function_that_it_does_not_use(name: str) -> None:
    text = Script.read(name).plain.decode()
    for function in re.findall(r"^local function (\w+)", text, re.MULTILINE):
        assert len(re.findall(rf"\b{function}\b", text)) > 1, function


@pytest.mark.parametrize("name", NAMES)
def test_a_script_has_every_function_that_it_uses(name: str) -> None:
    text = Script.read(name).plain.decode()
    for file in FILES:
        for function in re.findall(r"^local function (\w+)", read(file), re.MULTILINE):
            used = re.search(rf"(?<![\w.:'{{]){function}\(", text)
            assert not used or f"local function {function}(" in text, function


def test_what_few_fetches_need_is_not_made_by_the_others() -> None:
    before, begins, after = Script.read("fetch").plain.decode().partition("local function rarely()")
    assert begins
    for rare in ("set_gate", "numbers", "finish", "unpark"):
        assert f"local function {rare}(" not in before
        assert f"local function {rare}(" in after


def test_only_what_fills_a_store_is_refused_by_a_full_one() -> None:
    modern = {name: Script.read(name).modern.decode().splitlines()[0] for name in NAMES}
    refused = {name for name, line in modern.items() if line == "#!lua"}
    assert refused == {"enqueue", "enqueue_one", "rewrite", "register", "set_skew", "tick"}


# -- being called


class Servers:
    """Two that answer scripts, each with a cache of its own, by the last letter of a queue's name."""

    def __init__(self, *, modern: bool = True) -> None:
        self.modern = modern
        self.known: dict[str, set[str]] = {"a": set(), "b": set()}
        self.steps: list[list[str]] = []

    def talk(self, scripts: Scripts, *queues: str) -> list[Any]:
        talk = scripts.run([scripts.get(queue, ["id"]) for queue in queues])
        replies: list[Any] = []
        try:
            requests = next(talk)
            while True:
                self.steps.append([request[0] for request in requests])
                replies = [self._answer(request) for request in requests]
                requests = talk.send(replies)
        except StopIteration as end:
            return list(end.value)

    def _answer(self, request: Sequence[Any]) -> Any:
        name, script, _, key = request[:4]
        known = self.known[key.partition("}")[0][-1]]
        if name == "EVAL":
            if script.startswith(b"#!") and not self.modern:
                return ResponseError("Error compiling script (new function): unexpected '#'")
            known.add(sha1(script).hexdigest())
        elif script not in known:
            return NoScriptError("No matching script")
        return [key]


def scripts() -> Scripts:
    return Scripts(Keys("ns"), keep_ms=1)


def test_what_a_server_does_not_know_is_sent_to_it_once() -> None:
    servers, made = Servers(), scripts()
    found = servers.talk(made, "a", "b", "a", "b")
    assert found == [[f"{{ns:{queue}}}:meta"] for queue in "abab"]
    calls, texts = ["EVALSHA"] * 4, ["EVAL", "EVALSHA", "EVALSHA", "EVALSHA"]
    assert servers.steps == [calls, texts, ["EVAL", "EVALSHA"]]
    servers.steps.clear()
    servers.talk(made, "b", "a")
    assert servers.steps == [["EVALSHA", "EVALSHA"]]


def test_a_server_that_cannot_read_the_first_line_gets_the_text_without_it() -> None:
    servers, made = Servers(modern=False), scripts()
    assert servers.talk(made, "a", "a") == [["{ns:a}:meta"]] * 2
    assert servers.steps == [["EVALSHA"] * 2, ["EVAL", "EVALSHA"], ["EVAL", "EVALSHA"]]
    servers.talk(made, "a")
    assert servers.steps[-1] == ["EVALSHA"]
