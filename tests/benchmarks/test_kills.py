"""The kill benchmark detects a lost turn, a report that does not render, and a process that was left."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from turngap.store.folder import RunFolder

from benchmarks import kills
from tests.harness import report_builders as builders

GOOD = kills.Kill(1.0, "calling", announced=3, stored=3, rendered=True, orphans=())


@pytest.mark.parametrize(
    ("kill", "lost"),
    [
        (GOOD, False),
        (replace(GOOD, stored=2), True),
        (replace(GOOD, rendered=False), True),
        (replace(GOOD, orphans=("python -m turngap_agent serve",)), True),
    ],
)
def test_what_counts_as_a_loss(kill: kills.Kill, lost: bool) -> None:
    """An announced turn that is not stored, a missing report, or a process that was left."""
    assert kill.lost is lost


def test_announced_turns_are_read_from_a_runs_output() -> None:
    """Each finished turn has one line; other lines do not count."""
    line = "kills: 3/20 t16: answered 404 ms"
    assert (match := kills.ANNOUNCED.match(line)) is not None
    assert match[1] == "t16"
    assert kills.ANNOUNCED.match("kills: agent ready in 8.1 s") is None


def test_a_leftover_process_is_reported() -> None:
    """A living process that inherited the run's mark is an orphan; once it has ended there is none."""
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        command, env=os.environ | {kills.MARK: "mark"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert kills.marked_processes("mark") == (" ".join(command),)
        process.kill()
    assert kills.marked_processes("mark") == ()


def test_a_folder_that_does_not_render_is_detected(tmp_path: Path) -> None:
    """A damaged folder that `turngap report` refuses is a loss; an undamaged one is not."""
    folder = RunFolder.create(tmp_path / "results", "run", builders.run_record([]))
    assert kills.report_renders(folder.path)
    (folder.path / "turns.jsonl").write_bytes(b"no turn\n")
    assert not kills.report_renders(folder.path)
