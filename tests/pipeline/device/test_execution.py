"""Which stream an engine's work is queued on: urgent engines use one of high priority."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent import profile
from turngap_agent.device.execution import Execution, Mode


@pytest.mark.parametrize(("priority", "level"), [("high", -1), ("normal", 0)])
def test_the_priority_is_that_of_the_stream(priority: Any, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In torch's numbers, where the lower goes first; a CPU has no streams."""
    streams: list[tuple[str, int]] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, priority: streams.append((str(device), priority)))
    Execution(torch.device("cuda:0"), Mode.EAGER, priority=priority)
    assert streams == [("cuda:0", level)]
    Execution(torch.device("cpu"), Mode.EAGER, priority=priority)
    assert len(streams) == 1


def test_speech_has_priority_over_the_language_model() -> None:
    """By default, where all three are in one process."""
    weightless = profile.load("weightless-hf")
    sections = weightless.stt, weightless.llm, weightless.tts
    assert [getattr(section, "stream_priority", None) for section in sections] == ["high", "normal", "high"]
