"""Which stream an engine's work is queued on: urgent engines use one of high priority."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent import profile
from turngap_agent.device import execution as execution_module
from turngap_agent.device.execution import WARM_UP_RUNS, CaptureError, Execution, Mode
from turngap_agent.errors import EngineError


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


def test_dependent_launches_are_an_option_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every compiled function gets it, under the name that this torch has; where it has none that is said."""
    compiled: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled.append(options) or function)
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_, **__: FakeStream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert execution_module.has_dependent_launch()  # in some releases since torch 2.9
    execution = Execution(torch.device("cuda:0"), Mode.COMPILED, dependent_launch=True)
    execution.fuse(len)
    execution.fuse(sum, tuned=True)
    assert [one["options"]["triton.enable_pdl"] for one in compiled] == [True, True]
    assert compiled[1]["options"]["coordinate_descent_tuning"]
    monkeypatch.setattr(execution_module, "DEPENDENT_LAUNCH", "triton.no_such_option")
    with pytest.raises(EngineError, match=r"torch .* has no option triton\.no_such_option"):
        Execution(torch.device("cuda:0"), Mode.COMPILED, dependent_launch=True)


@pytest.mark.parametrize(
    ("device", "mode", "capability", "why"),
    [
        ("cuda:0", Mode.GRAPHS, (9, 0), "the mode is graphs"),
        ("cuda:0", Mode.COMPILED, (8, 0), "compute capability 9.0"),
        ("cpu", Mode.COMPILED, (9, 0), "compute capability 9.0"),
    ],
)
def test_dependent_launches_that_would_be_left_out_are_refused(
    device: str, mode: Mode, capability: tuple[int, int], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inductor ignores the option on an A100 without a word: a measurement would compare nothing."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_, **__: FakeStream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    with pytest.raises(EngineError, match=rf"{why}.*; set tts\.dependent_launch: false"):
        Execution(torch.device(device), mode, dependent_launch=True)
