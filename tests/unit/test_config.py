from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest

from taskrunner._settings import KINDS
from taskrunner.config import SETTING_NAMES, Config, hide_password, hide_passwords
from taskrunner.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def load(
    folder: Path,
    *,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    code: Mapping[str, Any] | None = None,
) -> Config:
    return Config.load(
        environ=environ or {}, folder=folder, arguments=arguments or {}, code=code or {}
    )


def problems(folder: Path, **given: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, **given)
    return caught.value.problems


def test_without_any_source_every_setting_has_its_default(folder: Path) -> None:
    config = load(folder)
    assert config == Config()
    assert set(config.sources.values()) == {"default"}
    assert set(config.sources) == set(SETTING_NAMES)


def test_every_field_says_what_it_accepts() -> None:
    assert set(KINDS) == {f.name for f in dataclasses.fields(Config)} - {"sources", "processes_max"}


def test_every_default_is_a_value_that_its_setting_accepts() -> None:
    for name in SETTING_NAMES:
        value = getattr(Config(), name)
        if value is not None:
            assert KINDS[name].check(value) == value


@pytest.mark.parametrize(
    ("sources", "value", "label"),
    [
        ({"file"}, 1, "taskrunner.toml"),
        ({"file", "environ"}, 2, "TASKRUNNER_RETRIES"),
        ({"file", "environ", "code"}, 4, "App(...)"),
        ({"file", "environ", "code", "arguments"}, 5, "command line"),
        ({"environ", "arguments"}, 5, "command line"),
        ({"file", "code"}, 4, "App(...)"),
    ],
)
def test_the_stronger_source_wins(folder: Path, sources: set[str], value: int, label: str) -> None:
    if "file" in sources:
        (folder / "taskrunner.toml").write_text("retries = 1")
    config = load(
        folder,
        environ={"TASKRUNNER_RETRIES": "2"} if "environ" in sources else {},
        code={"retries": 4} if "code" in sources else {},
        arguments={"retries": "5"} if "arguments" in sources else {},
    )
    assert config.retries == value
    assert config.source("retries") == label


def test_settings_may_stand_in_pyproject(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.taskrunner]\nretries = 7\n[tool.ruff]\nx = 1")
    config = load(folder)
    assert (config.retries, config.source("retries")) == (7, "pyproject.toml")


def test_settings_in_both_files_are_a_mistake(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.taskrunner]\nretries = 7")
    (folder / "taskrunner.toml").write_text("retries = 8")
    assert "keep one of them" in problems(folder)[0]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 << 20),
        ("512 mib", 512 << 20),
        ("1.5G", 1_500_000_000),
        ("2GB", 2_000_000_000),
        ("4096KiB", 4 << 20),
        ("2000000", 2_000_000),
        ("2000000B", 2_000_000),
        ("1TiB", 1 << 40),
        ("none", None),
    ],
)
def test_a_size_is_bytes_or_text(folder: Path, text: str, size: int | None) -> None:
    (folder / "taskrunner.toml").write_text(f'max_memory_bytes = "{text}"')
    assert load(folder).max_memory_bytes == size
    assert load(folder, arguments={"max_memory_bytes": text}).max_memory_bytes == size
    assert load(folder, code={"max_memory_bytes": size or "none"}).max_memory_bytes == size


@pytest.mark.parametrize(
    "text", ["", "big", "12", "-1MiB", "1MiB x", "1XB", "1e9", "inf", "9999999TiB"]
)
def test_what_is_no_size_is_refused(folder: Path, text: str) -> None:
    (found,) = problems(folder, code={"max_memory_bytes": text})
    assert "512MiB" in found
    for value in (True, 1.5, 12):
        assert problems(folder, code={"max_memory_bytes": value})


def test_an_empty_variable_does_not_overwrite(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text('broker = "redis://here"')
    config = load(folder, environ={"TASKRUNNER_BROKER": "", "TASKRUNNER_RETRIES": "  "})
    assert config.broker == "redis://here"
    assert config.retries == 3


def test_none_in_code_or_arguments_means_not_given(folder: Path) -> None:
    environ = {"TASKRUNNER_BACKEND": "redis://results"}
    config = load(folder, environ=environ, code={"backend": None}, arguments={"backend": None})
    assert config.backend == "redis://results"


def test_all_mistakes_of_all_sources_come_together(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text("retrys = 1\nlease_s = true")
    found = problems(
        folder,
        environ={"TASKRUNNER_RETRIES": "many", "TASKRUNNER_PROCESES": "2"},
        code={"max_crashes": 0},
        arguments={"shutdown_timeout_s": "-1"},
    )
    assert found == (
        "taskrunner.toml: retrys=1: there is no such setting; did you mean 'retries'?",
        "taskrunner.toml: lease_s=True: expected seconds (fractions count), 0.1 or more",
        "TASKRUNNER_RETRIES='many': expected a whole number from 0 to 2147483647",
        "TASKRUNNER_PROCESES='2': there is no such setting; did you mean 'TASKRUNNER_PROCESSES'?",
        "App(max_crashes=0): expected a whole number from 1 to 2147483647",
        "--shutdown-timeout='-1': expected seconds (fractions count), 0 or more",
    )


def test_a_mistake_counts_also_where_a_stronger_source_is_right(folder: Path) -> None:
    assert problems(folder, environ={"TASKRUNNER_RETRIES": "x"}, arguments={"retries": "1"})


@pytest.mark.parametrize(
    "name",
    [
        "TASKRUNNER_TEST_SKEW",
        "TASKRUNNER_SERVICE_HOST",
        "TASKRUNNER_PORT",
        "TASKRUNNER_PORT_6379_TCP_ADDR",
        "TASKRUNNER_REDIS_SERVICE_PORT_HTTP",
        "TASKRUNNER_REDIS_PORT",
        "TASKRUNNER_HEALTH_PORT",  # of a service called taskrunner-health
    ],
)
def test_variables_for_tests_and_of_kubernetes_are_not_settings(folder: Path, name: str) -> None:
    assert load(folder, environ={name: "tcp://10.0.0.1:6379"}) == Config()


@pytest.mark.parametrize("content", ["retries = ", "\xff", "retries = 1\nretries = 2"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, content: str) -> None:
    (folder / "taskrunner.toml").write_bytes(content.encode("latin-1"))
    assert problems(folder)[0].startswith("taskrunner.toml cannot be read: ")


def test_a_table_that_is_not_one_is_named(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool]\ntaskrunner = 5")
    assert problems(folder) == ("pyproject.toml: tool.taskrunner=5: expected a table of settings",)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("queues", "critical=6,default=3,low=1", (("critical", 6), ("default", 3), ("low", 1))),
        ("queues", " a , b ", (("a", 1), ("b", 1))),
        ("queues", "*", None),
        ("prefetch", "auto", None),
        ("prefetch", "0", 0),
        ("timeout_s", "none", None),
        ("timeout_s", "1.5", 1.5),
        ("strict", "Yes", True),
        ("strict", "0", False),
        ("log_level", "DEBUG", "debug"),
        ("broker", "unix:///tmp/s?db=1", "unix:///tmp/s?db=1"),
    ],
)
def test_text_becomes_a_value(folder: Path, name: str, text: str, value: object) -> None:
    config = load(folder, environ={f"TASKRUNNER_{name.upper()}": text})
    assert getattr(config, name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("queues", "a=0"),
        ("queues", "a=x"),
        ("queues", "a,a"),
        ("queues", "a b"),
        ("queues", "{a}"),
        ("queues", ","),
        ("queues", "=3"),
        ("prefetch", "-1"),
        ("processes", "0"),
        ("processes", "2.5"),
        ("processes", "3..2"),
        ("processes", "0..2"),
        ("processes", "2..5000"),
        ("processes", "2.."),
        ("processes", "1..2..3"),
        ("lease_s", "nan"),
        ("lease_s", "0"),
        ("grace_s", "inf"),
        ("timeout_s", "0"),
        ("strict", "perhaps"),
        ("log_level", "loud"),
        ("broker", "localhost"),
        ("namespace", "a:b"),
        ("namespace", "{a}"),
        ("payload_limit_bytes", "99999999999"),
    ],
)
def test_a_bad_value_is_shown_with_what_is_accepted(folder: Path, name: str, text: str) -> None:
    variable = f"TASKRUNNER_{name.upper()}"
    (problem,) = problems(folder, environ={variable: text})
    assert problem == f"{variable}={text!r}: expected {KINDS[name].accepts}"


@pytest.mark.parametrize(
    "given",
    [
        {"environ": {"TASKRUNNER_PROCESSES": "2..16"}},
        {"code": {"processes": "2..16"}},
        {"arguments": {"processes": "2..16"}},
    ],
)
def test_processes_may_be_a_range(folder: Path, given: dict[str, Any]) -> None:
    config = load(folder, **given)
    assert (config.processes, config.processes_max, config.most_processes) == (2, 16, 16)
    assert config.shown("processes") == "2..16"
    assert Config.unpack(config.pack()) == config
    fixed = Config(processes=3)
    assert (fixed.shown("processes"), fixed.most_processes) == (3, 3)


def test_a_range_in_a_file(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text('processes = "2..16"')
    assert load(folder).processes_max == 16
    stronger = load(folder, environ={"TASKRUNNER_PROCESSES": "3"})
    assert (stronger.processes, stronger.processes_max) == (3, None)


@pytest.mark.parametrize(
    "toml",
    ['queues = ["a", "b=2"]', "[queues]\na = 1\nb = 2", 'queues = [["a", 1], ["b", 2]]'],
)
def test_queues_in_a_file(folder: Path, toml: str) -> None:
    (folder / "taskrunner.toml").write_text(toml)
    assert load(folder).queues == (("a", 1), ("b", 2))


@pytest.mark.parametrize("toml", ["queues = 5", "queues = [5]", "queues = [[]]", "queues = {}"])
def test_bad_queues_in_a_file(folder: Path, toml: str) -> None:
    (folder / "taskrunner.toml").write_text(toml)
    assert problems(folder)[0].endswith(KINDS["queues"].accepts)


@pytest.mark.parametrize("toml", ['retries = "3"', "retries = 3.0", 'strict = "yes"', "broker = 1"])
def test_a_file_has_types_of_its_own(folder: Path, toml: str) -> None:
    (folder / "taskrunner.toml").write_text(toml)
    assert len(problems(folder)) == 1


def test_a_config_travels_to_another_process(folder: Path) -> None:
    config = load(folder, environ={"TASKRUNNER_QUEUES": "a=2,b", "TASKRUNNER_BACKEND": "x://y"})
    back = Config.unpack(msgpack.unpackb(msgpack.packb(config.pack())))
    assert back == config
    assert back.sources == config.sources
    assert Config.unpack(Config().pack()) == Config()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:secret@host:1/0", "redis://user:***@host:1/0"),
        ("rediss://:secret@host", "rediss://:***@host"),
        ("redis://user@host", "redis://user@host"),
        ("redis://:se/c?r#e@t@host/0", "redis://:***@host/0"),
        ("unix:///run/a@b?db=0&password=secret", "unix:///run/a@b?db=0&password=***"),
        ("unix:///run/s?PASSWORD=secret&db=0", "unix:///run/s?PASSWORD=***&db=0"),
        ("unix://user:secret@/run/s?db=0", "unix://user:***@/run/s?db=0"),
        ("memory://", "memory://"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert hide_password(url) == shown
    assert hide_passwords(f"trying {url} failed") == f"trying {shown} failed"


def test_no_password_is_in_repr_or_in_a_mistake(folder: Path) -> None:
    config = Config(broker="redis://:pa55word@a", backend="redis://u:pa55word@b")
    assert "pa55word" not in repr(config)
    assert "redis://:***@a" in repr(config)
    assert "pa55word" not in str(problems(folder, code={"broker": "//u:pa55word@host"}))
    assert "pa55word" not in str(
        problems(folder, environ={"TASKRUNNER_BROKERS": "x://:pa55word@h"})
    )


def test_the_guide_lists_every_setting_with_what_it_accepts_and_its_default() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "settings.md"
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .+? \| (.+) \|$", guide.read_text(), re.M)
    assert [name for name, _, _ in rows] == list(SETTING_NAMES)
    for name, default, accepts in rows:
        assert accepts == KINDS[name].accepts
        if not default:
            assert getattr(Config(), name) in (None, ())
        elif name != "processes":
            kind, text = KINDS[name], default.strip("`")
            assert kind.check(kind.parse(text)) == getattr(Config(), name)
