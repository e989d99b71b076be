"""CSM's frame time beside a language model: the logic, with tiny models on a CPU; the times there mean nothing."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from benchmarks import contention
from benchmarks.speech import contention_measurement, language_model_load
from benchmarks.speech.language_model_load import Kind


class Recorded(language_model_load.LanguageModelWork):
    """Counts the pieces of work done, by kind."""

    done: list[Kind]

    def __init__(self, device: str, architecture: str) -> None:
        super().__init__(device, architecture)
        self.done = []
        made.append(self)

    def do(self, kind: Kind) -> None:
        super().do(kind)
        self.done.append(kind)


made: list[Recorded] = []


def test_the_language_model_does_the_kind_of_work_it_was_switched_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """`switch_to` returns after a first piece of the new kind; at rest it does nothing."""
    monkeypatch.setattr(language_model_load, "LanguageModelWork", Recorded)
    with language_model_load.in_thread("cpu", "tiny") as load:
        work = made[-1]
        for kind in (Kind.PREFILL, Kind.DECODE, Kind.REST):
            load.switch_to(kind)
            assert kind in work.done
        resting = len(work.done)
        time.sleep(0.05)
        assert len(work.done) == resting
    assert [kind for kind in Kind if kind not in work.done] == []


def test_every_placement_gives_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, beside prefill and beside decode, in a thread and in a process; each has its file."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other's cores would take minutes
    arguments = ["--tiny", "--device", "cpu", "--places", "thread,process", "--out", str(tmp_path)]
    assert contention.main(arguments) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.split("-tiny")[0] for name in names] == ["contention-process", "contention-thread"]
    for name in names:
        frame: dict[str, Any] = json.loads((tmp_path / name).read_text())["frame_ms"]
        assert all(frame[beside]["n"] > 1 for beside in ("alone", "prefill", "decode"))
        assert set(frame["times_alone"]) == {"prefill", "decode"}
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in printed[1:]] == [
        [place, beside] for place in ("thread", "process") for beside in ("alone", "prefill", "decode")
    ]


@pytest.mark.parametrize("broken", [Kind.PREFILL, Kind.DECODE])
def test_a_language_model_that_fails_keeps_the_frames_before_it(
    broken: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured before it stays in the file and in the table; exit code 1."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    class Broken(Recorded):
        def do(self, kind: Kind) -> None:
            if kind is broken:
                raise RuntimeError("out of memory")
            super().do(kind)

    monkeypatch.setattr(language_model_load, "LanguageModelWork", Broken)
    monkeypatch.setattr(language_model_load.threading, "excepthook", lambda _: None)
    arguments = contention.parse(["--tiny", "--device", "cpu", "--place", "thread", "--out", str(tmp_path)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pytest.PytestUnhandledThreadExceptionWarning)
        result = contention_measurement.ContentionMeasurement(arguments).run()
    assert "alone" in result["frame_ms"]
    assert f"frame_ms {broken}" in result["failed"]
    assert "alone" in contention.format_table({"thread": result})


def test_ratios_are_of_the_frame_alone() -> None:
    """Twice the median, thrice the p95."""
    measured = {"alone": {"p50": 2.0, "p95": 3.0}, "decode": {"p50": 4.0, "p95": 9.0}}
    assert contention_measurement.ratios(measured) == {"decode": {"p50": 2.0, "p95": 3.0}}


def test_mps_without_its_daemon_is_one_line_and_the_other_placements_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No GPU, or no program: noted in the table, exit code 1."""
    from turngap_agent.errors import EngineError

    def refuse() -> None:
        raise EngineError("no NVIDIA GPU: Not Found; install the driver")

    monkeypatch.setattr("turngap_agent.gpu.choice.choose", refuse)
    assert contention.main(["--tiny", "--device", "cpu", "--places", "mps", "--out", str(tmp_path)]) == 1
    assert "FAILED mps: no NVIDIA GPU" in capsys.readouterr().out


def test_an_unknown_placement_is_refused() -> None:
    """The placements are thread, process and mps."""
    with pytest.raises(SystemExit):
        contention.parse(["--places", "thread,cloud"])
