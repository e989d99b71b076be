"""Child processes that do not come up: one line, in time, and none is left."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from turngap.processes import child
from turngap.processes.sampler import Sampler
from turngap.processes.span_receiver import SpanReceiver
from turngap_agent.errors import HarnessError

FAULTS = {
    "print('Traceback')": "not JSON",
    "print([])": "see the lines above",
    "": "see the lines above",
    "import time; time.sleep(600)": "printed nothing for 0.5 s",
}


@pytest.mark.parametrize("starter", [Sampler.start, SpanReceiver.start])
@pytest.mark.parametrize(("code", "message"), FAULTS.items())
def test_a_child_without_a_first_line_is_one_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starter: Any, code: str, message: str
) -> None:
    """Silence, an early end and what is no JSON object are a HarnessError, and the process has ended."""
    started: list[asyncio.subprocess.Process] = []
    start = child.start_child

    async def other(command: list[str], **keys: Any) -> asyncio.subprocess.Process:
        started.append(await start([sys.executable, "-c", code], **keys))
        return started[0]

    monkeypatch.setattr(child, "start_child", other)
    monkeypatch.setattr(child, "HELLO_TIMEOUT_S", 0.5 if "sleep" in code else 30.0)

    async def scenario() -> None:
        async with asyncio.timeout(60):
            await starter(tmp_path / "there")

    with pytest.raises(HarnessError, match=f"did not start: .*{message}"):
        asyncio.run(scenario())
    assert started[0].returncode is not None
