"""`turngap stage --trace`: where it cannot be written is said before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.cli.app import execute
from turngap.cli.stage import check_trace_file


@pytest.mark.parametrize(("name", "words"), [(".", "a folder; name the file"), ("none/t.json", "there is no folder")])
def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    """Exit code 3, with what to do; nothing was started."""
    assert execute(["stage", "llm", "--profile", "scripted", "--trace", str(tmp_path / name)]) == 3
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_an_ordinary_file_is_accepted(tmp_path: Path) -> None:
    """One that exists is replaced."""
    (tmp_path / "t.json").touch()
    check_trace_file(tmp_path / "t.json")
