"""What comes back of a job: a run that its agent's death ended is no measured setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.cluster import trials
from turngap.store.folder import RunFolder

from tests.harness import report_builders as builders


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"complete": True}, ""),
        (
            {"complete": False, "reasons": ("the agent died (killed by SIGKILL)", "more")},
            "the agent died (killed by SIGKILL)",
        ),
        ({"complete": False, "reasons": ()}, "it ended before its last call"),
    ],
)
def test_a_run_that_ended_early_says_why(tmp_path: Path, changes: dict[str, object], end: str) -> None:
    record = builders.run_record([]).model_copy(update=changes)
    folder = RunFolder.create(tmp_path / "node", "run", record)
    packed = trials.pack_folder(folder.path.parent)
    assert folder.lock is not None
    folder.lock.release()
    (tmp_path / "sweep").mkdir()
    trials.unpack_run(packed, tmp_path / "sweep", "run")
    assert trials.find_end(tmp_path / "sweep" / "run") == end
