"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap_agent import files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """A writer that fails leaves the old content, and no draft."""
    target = tmp_path / "run.json"
    files.replace_file(target, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(target) as file:
        file.write(b"%d" % (1 / 0))
    assert target.read_text() == "old"
    files.replace_file(target, b"new", sync=False)
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
