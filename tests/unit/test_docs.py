"""The documentation holds: what it imports exists, its links lead somewhere, its first example runs."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text("utf-8"))


def test_there_are_pages() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/architecture.md"} <= set(PAGES)
    assert len(blocks("docs/guides/tasks.md")) > 5


@pytest.mark.parametrize("page", PAGES)
def test_code_is_code_and_imports_what_exists(page: str) -> None:
    for block in blocks(page):
        tree = compile(block, page, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("taskrunner"):
                module = importlib.import_module(node.module or "")
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    targets = [target for target, _ in LINK.findall((ROOT / page).read_text("utf-8"))]
    inside = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in inside if not (folder / target).exists()] == []


def test_the_first_example_is_the_one_that_is_tested() -> None:
    assert blocks("README.md")[0] == (ROOT / "docs/examples/quickstart.py").read_text()


def test_every_decision_and_guide_is_listed() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text()
    decisions = [path.name for path in (ROOT / "docs/decisions").glob("0*.md")]
    assert [name for name in decisions if f"({name})" not in listed] == []
    readme = (ROOT / "README.md").read_text()
    guides = [path.name for path in (ROOT / "docs/guides").glob("*.md")]
    assert [name for name in guides if f"docs/guides/{name}" not in readme] == []


def test_the_modules_of_the_architecture_page_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    names = set(re.findall(r"`([\w/]+\.py)`", text))
    packages = ["supervisor", "scheduler", "worker", "access", "brokers/redis"]
    places = ["", "brokers", "taskrunner", *(f"taskrunner/{package}" for package in packages)]
    assert len(names) > 30
    assert [n for n in sorted(names) if not any((ROOT / p / n).exists() for p in places)] == []
