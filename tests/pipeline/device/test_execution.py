"""Which stream an engine's work is queued on: urgent engines use one of high priority."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent import profile
from turngap_agent.device.execution import WARM_UP_RUNS, CaptureError, Execution, Mode


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


class FakeStream:
    """A stream on a machine without a GPU."""

    def synchronize(self) -> None:
        pass


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Execution:
    """Graphs on a machine without a GPU: a capture runs the unit."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_, **__: FakeStream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
    return Execution(torch.device("cuda:0"), Mode.GRAPHS)


@pytest.mark.parametrize(("fails_at", "expected"), [(1, RuntimeError), (WARM_UP_RUNS, RuntimeError), (4, CaptureError)])
def test_only_a_failure_in_the_capture_is_a_capture_error(
    graphs: Execution, fails_at: int, expected: type[Exception]
) -> None:
    """What a unit raises in its runs before that is raised unchanged: another mode may still work."""
    runs = 0

    def run() -> None:
        nonlocal runs
        runs += 1
        if runs == fails_at:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(expected, match="not permitted"):
        graphs.prepare_unit(run)
    assert runs == fails_at
    assert graphs.graph_count == 0
