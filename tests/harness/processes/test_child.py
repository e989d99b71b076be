"""Child processes that do not come up: one line, in time, and none is left."""

from __future__ import annotations

import asyncio
import json
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


async def _read_environment(**options: Any) -> dict[str, str]:
    command = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    process = await child.start_child(command, stderr=None, **options)
    assert process.stdout is not None
    line = await process.stdout.readline()
    await child.stop_child(process, grace_s=5.0)
    return dict(json.loads(line))


def test_secrets_are_passed_to_nobody_who_does_not_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child has our environment without tokens, secrets and passwords; who fetches models has the hub's token."""
    secrets = (
        "TWILIO_AUTH_TOKEN",
        "TWILIO_ACCOUNT_SID",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_API_KEY",
        "DB_PASSWORD",
    )
    for name in secrets:
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("TURNGAP_CACHE", "/somewhere")
    environment = asyncio.run(_read_environment())
    assert environment.keys().isdisjoint(secrets)
    assert "s3cret" not in environment.values()
    assert environment["TURNGAP_CACHE"] == "/somewhere"
    fetching = child.plain_environment(fetches=True)
    assert fetching["HF_TOKEN"] == "s3cret"
    assert "TWILIO_AUTH_TOKEN" not in fetching
