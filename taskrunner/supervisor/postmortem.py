"""What a dead child left, in words: how it ended, the stacks of its threads, the last it said. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import taskrunner
from taskrunner.supervisor.child import Child
from taskrunner.supervisor.generation import Exit
from taskrunner.worker.evidence import Line
from taskrunner.worker.main import EXIT_CHILD_START
from taskrunner.worker.shown import cut

_OURS: Final = tuple(
    os.path.join(os.path.dirname(taskrunner.__file__), part, "")
    for part in ("worker", "supervisor")
)
LINES_SHOWN: Final = 8
_PLUMBING: Final = ("/threading.py", "<string>")


def how_it_ended(child: Child, exit_: Exit) -> str:
    """As what follows "the process that ran the job"."""
    if child.sentence is not None:
        text = f"was killed: {child.sentence.reason}"
    elif child.channel.refused:
        text = f"was killed because something in it wrote to its pipe: {child.channel.refused}"
    else:
        text = f"died: {exit_}"
    if exit_.peak_memory_kib:
        text += f"; its memory had peaked at {exit_.peak_memory_kib / 1024:.0f} MiB"
    return text


def start_failed(deaths: int, exit_: Exit, said: Sequence[Line]) -> str:
    """What to say when children die as soon as they start, and where to look."""
    text = f"{deaths} children in a row died while they started, the last with {exit_}"
    if exit_.code == EXIT_CHILD_START:
        text += ": a child_start hook of its middleware raised"
    if not said:
        return f"{text}. It said nothing: look at what its child_start hooks do, and at its limits"
    return "\n  ".join([f"{text}. Its last lines:", *(line.text for line in said[-LINES_SHOWN:])])


def without_our_frames(stacks: str) -> str:
    """What faulthandler wrote, down to where the user's code was called; a thread that is wholly
    ours is left out. Where that leaves nothing, all of it."""
    kept = [shown for block in stacks.split("\n\n") if (shown := _shown(block.strip("\n")))]
    text = "\n\n".join(kept)
    return text if "  File " in text else stacks.strip()


def _shown(block: str) -> str:
    lines = block.splitlines()
    shown = [line for line in lines if not _is_of(line, _OURS)]
    frames = [line for line in shown if line.startswith("  File ")]
    if len(shown) < len(lines) and all(_is_of(frame, _PLUMBING) for frame in frames):
        return ""
    if len(shown) < len(lines):
        shown = [line for line in shown if not _is_of(line, _PLUMBING)]
    return "\n".join(shown)


def _is_of(line: str, parts: tuple[str, ...]) -> bool:
    return line.startswith("  File ") and any(part in line for part in parts)


def account(*, stacks: str, lines: Sequence[Line], ended_at: float, limit: int) -> str:
    """Stacks and last lines as the traceback of an error, at most `limit` bytes. `ended_at`:
    monotonic seconds."""
    parts = []
    if stacks:
        parts.append(f"Its threads were here:\n\n{stacks}")
    if lines:
        said = [f"{max(0.0, ended_at - line.at_ns / 1e9):9.3f} s  {line.text}" for line in lines]
        parts.append(
            "\n".join(["The last lines of its log and standard error, before the end:", "", *said])
        )
    return cut("\n\n".join(parts), limit)
