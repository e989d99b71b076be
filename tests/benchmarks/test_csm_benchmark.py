"""The CSM benchmark runs anywhere in its tiny form, with no other package of the project, and loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.device.operation_counts import HostEvent, count_waits

from benchmarks import csm
from benchmarks.speech import csm_verdict
from benchmarks.speech.csm_measurement import CsmMeasurement
from benchmarks.speech.results import summary

ROOT = Path(__file__).parents[2]

WITHOUT_THE_PROJECT = """
import runpy, sys
for name in ("pydantic", "scipy", "soundfile", "pandas", "opentelemetry", "fastapi"):
    sys.modules[name] = None
sys.argv = ["benchmarks/csm.py", *sys.argv[1:]]
runpy.run_path("benchmarks/csm.py", run_name="__main__")
"""


def test_the_tiny_form_measures_every_part(tmp_path: Path) -> None:
    """In a process where the project's other packages cannot be imported: every part is there, nothing failed."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PROJECT, "--tiny", "--device", "cpu", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("csm-tiny-cpu")
    assert str(path) in done.stdout
    result: dict[str, Any] = json.loads(path.read_text())
    assert result["failed"] == {}
    eager = result["eager"]
    assert set(eager["first_audio_ms"]) == {"15", "150", "452"}
    assert set(eager["first_audio_ms"]["150"]) == {"kept", "afresh"}
    assert set(eager["split_ms"]) == set(eager["counts"]["a_stage"]) == {"backbone", "depth", "codec"}
    assert eager["counts"]["host_reads_a_frame"] == 0
    assert result["transformers"]["host_reads_a_frame"] > 0
    assert result["bytes"]["floor_ms"] > 0
    assert result["codec"]["signal_to_error_db"] >= 100
    assert result["verdict"]["frames_of_8_as_eager"] == {"eager": 8}
    assert result["fit"]["a_us_a_kernel"] > 0
    assert "transformers generate:" in done.stdout


def test_a_failed_part_is_noted_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, the reason in the file, and the other parts measured."""

    def transformers(bench: CsmMeasurement) -> dict[str, Any]:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(CsmMeasurement, "transformers", transformers)
    assert csm.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)]) == 1
    result = json.loads(next(tmp_path.iterdir()).read_text())
    assert result["failed"]["transformers"] == "RuntimeError: out of memory"
    assert "eager" in result


def test_what_runs_past_the_limit_is_cut_off(tmp_path: Path) -> None:
    """The run ends by itself with what it has: a lent machine has an end."""
    bench = CsmMeasurement(options(tmp_path, limit_s=0.0))

    def forever() -> dict[str, Any]:
        while True:
            pass

    bench.part("forever", forever)
    assert bench.result["failed"]["forever"].startswith("LimitReachedError: the limit of 0 s was reached")


def test_an_engine_that_handles_every_error_does_not_outlive_the_limit(tmp_path: Path) -> None:
    """The limit is no Exception, and what it causes on its way is not taken for the part's own failure."""
    bench = CsmMeasurement(options(tmp_path, limit_s=0.0))

    def compile_slowly() -> dict[str, Any]:
        try:
            while True:
                pass
        except Exception:  # noqa: BLE001 - as the engine does, to try a slower mode
            return {"mode": "a slower one"}

    def capture() -> dict[str, Any]:
        try:
            while True:
                pass
        finally:
            raise RuntimeError("the capture was invalidated")

    assert not bench.part("compiled", compile_slowly)
    assert not bench.part("graphs", capture)
    assert bench.result["failed"] == dict.fromkeys(
        ("compiled", "graphs"), "LimitReachedError: the limit of 0 s was reached"
    )


PARTS = ("bandwidth", "bytes", "codec", "transformers", "fit")
SUBPARTS = ("first_audio", "frames", "codec_output", "checksums", "split", "memory", "counts")


@pytest.mark.parametrize("broken", [*PARTS, *SUBPARTS])
def test_no_failed_part_loses_the_verdict(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever part fails: the others have results, the table is printed, and there is a verdict if a frame has."""

    def fail(*_: Any) -> dict[str, Any]:
        raise RuntimeError("no")

    monkeypatch.setattr(CsmMeasurement, broken, fail)
    assert csm.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)]) == 1
    result = json.loads(next(tmp_path.iterdir()).read_text())
    failed = set(result["failed"])
    after = {"bandwidth": {"bytes", "fit"}, "bytes": {"fit"}, "codec": {"eager codec_output"}}
    assert len(failed - after.get(broken, set())) == (2 if broken == "memory" else 1)  # at load, and of the mode
    assert all(
        why == "RuntimeError: no" for label, why in result["failed"].items() if label not in after.get(broken, ())
    )
    assert ("verdict" in result) == (broken != "frames")
    assert "FAILED" in capsys.readouterr().out


def test_a_codec_with_other_samples_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mode's samples are compared with the eager ones: a thousandth off is said, and is exit code 1."""
    from turngap_agent.tts.csm.slot import Slot

    decode = Slot._decode
    gains = [1.0, 1.001]

    def decode_badly(slot: Slot) -> None:
        decode(slot)
        slot._output[:-1] *= gains[0]

    monkeypatch.setattr(Slot, "_decode", decode_badly)
    bench = CsmMeasurement(options(tmp_path))
    bench.load()
    bench.codec()
    ratios = []
    while gains:
        bench.prepare(bench.modes[0])
        with bench.speech.execution.activate():
            ratios.append(bench.codec_output(bench.speech.slots[0])["signal_to_error_db"])
        gains.pop(0)
    assert ratios[0] is None or ratios[0] > 120
    assert ratios[1] == pytest.approx(60.0, abs=0.5)
    frame = {"frame_ms": {"p50": 1.0, "p95": 2.0}}
    compiled = frame | {"codec_output": {"signal_to_error_db": ratios[1]}}
    verdict = csm_verdict.judge({"eager": frame, "compiled": compiled}, ["eager", "compiled"])
    assert verdict is not None
    assert verdict["codec_differs"] == ["compiled"]


def test_after_a_failed_capture_nothing_that_captures_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eager mode and transformers were measured before it; the next mode is listed with the command for it alone."""
    from turngap_agent.device.execution import CaptureError, Mode
    from turngap_agent.errors import EngineError
    from turngap_agent.tts.csm.speech import Speech

    prepare = Speech.prepare
    tried = []

    def fail(speech: Speech, mode: Mode | None, slots: int) -> None:
        tried.append(str(mode))
        if mode is not Mode.EAGER:
            raise EngineError("csm: no") from CaptureError("a CUDA graph could not be captured")
        prepare(speech, mode, slots)

    monkeypatch.setattr(Speech, "prepare", fail)
    arguments = csm.parse(["--tiny", "--device", "cpu", "--modes", "graphs,compiled,eager", "--out", str(tmp_path)])
    result = CsmMeasurement(arguments).run()
    assert tried == ["eager", "graphs"]
    assert "--modes compiled" in result["failed"]["compiled"]
    assert result["verdict"]["mode"] == "eager"
    assert result["verdict"]["times_faster_than_transformers"] > 0


def test_faster_paths_have_files_of_their_own(tmp_path: Path) -> None:
    """Named after the paths, and the speech that is measured uses them."""
    arguments = ["--tiny", "--device", "cpu", "--codec-beside", "--int8-depth", "--out", str(tmp_path)]
    bench = CsmMeasurement(csm.parse(arguments))
    assert bench.part("load", bench.load)
    assert (bench.speech.fast.codec_beside, bench.speech.fast.int8_depth) == (True, True)
    assert next(tmp_path.iterdir()).name.startswith("csm-beside-int8-tiny-cpu")


FIGURE = st.none() | st.floats(0.1, 100)
TIMES = st.fixed_dictionaries({}, optional={"p50": st.floats(0.1, 100), "p95": st.floats(0.1, 100)})
MODE = st.fixed_dictionaries(
    {},
    optional={
        "frame_ms": st.fixed_dictionaries({"p50": st.floats(0.1, 100), "p95": st.floats(0.1, 100)}),
        "frame_checksums": st.lists(st.integers(), min_size=8, max_size=8),
        "codec_output": st.fixed_dictionaries({"signal_to_error_db": FIGURE}),
        "turn_first_audio_ms": st.fixed_dictionaries({}, optional={"prepared": TIMES}),
        "first_audio_ms": st.dictionaries(st.sampled_from(["15", "150"]), st.fixed_dictionaries({"kept": TIMES})),
    },
)
RESULT = st.dictionaries(st.sampled_from(["eager", "graphs", "compiled"]), MODE)


@given(result=RESULT, reference_ms=st.none() | st.floats(1, 1000))
def test_a_verdict_needs_frame_times_and_nothing_else(result: dict[str, Any], reference_ms: float | None) -> None:
    """Whatever is missing, there is a verdict on the fastest mode that has frame times, and it can be written."""
    if reference_ms is not None:
        result["transformers"] = {"frame_ms": reference_ms}
    verdict = csm_verdict.judge(result, ["eager", "graphs", "compiled"])
    medians = {mode: result[mode]["frame_ms"]["p50"] for mode in result if "p50" in str(result[mode].get("frame_ms"))}
    assert (verdict is None) == (not medians)
    if verdict is not None:
        assert medians[verdict["mode"]] == min(medians.values())
        assert (verdict["times_faster_than_transformers"] is None) == (reference_ms is None)
        json.dumps(verdict, allow_nan=False)


def test_first_audio_is_judged_in_the_state_of_a_turn() -> None:
    """A context that was kept whole is faster, and meets the goal that a turn misses: it is not what is judged."""
    figures = {
        "frame_ms": {"p50": 4.0, "p95": 5.0},
        "first_audio_ms": {"150": {"kept": {"p50": 9.0, "p95": 10.0}}},
        "turn_first_audio_ms": {"prepared": {"p50": 27.0, "p95": 31.0}, "late": {"p50": 50.0, "p95": 60.0}},
    }
    verdict = csm_verdict.judge({"graphs": figures}, ["graphs"])
    assert verdict is not None
    assert set(csm_verdict.GOALS) <= set(verdict)
    assert verdict["turn_first_audio_p95_ms"] == 31.0 > csm_verdict.GOALS["turn_first_audio_p95_ms"]
    assert verdict["kept_context_first_audio_p95_ms"] == 10.0
    del figures["turn_first_audio_ms"]
    verdict = csm_verdict.judge({"graphs": figures}, ["graphs"])
    assert verdict is not None
    assert verdict["turn_first_audio_p95_ms"] is None


def test_host_waits_are_those_inside_the_mark() -> None:
    """Launches do not wait; events and streams do, and what the profiler waits for at its end is not counted."""
    calls = [
        HostEvent("turngap: counted", 10, 50),
        HostEvent("cudaStreamSynchronize", 5, 9),
        HostEvent("cudaGraphLaunch", 11, 12),
        HostEvent("cudaMemcpyAsync", 12, 13),
        HostEvent("cudaEventSynchronize", 13, 20),
        HostEvent("cudaGraphLaunch", 21, 22),
        HostEvent("cudaEventSynchronize", 23, 30),
        HostEvent("cudaDeviceSynchronize", 51, 60),
    ]
    assert count_waits(calls) == 2
    with pytest.raises(RuntimeError, match="no launch"):
        count_waits(calls[:2])  # a profiler without CUPTI: nothing is claimed


def test_percentiles_are_of_the_sample() -> None:
    """p95 of 1 to 100 ms is the 95th; one value is all of them."""
    assert summary([number / 1000 for number in range(1, 101)]) == {
        "n": 100,
        "p50": 50.5,
        "p95": 95.0,
        "max": 100.0,
    }
    assert summary([0.002]) == {"n": 1, "p50": 2.0, "p95": 2.0, "max": 2.0}


def test_the_fit_finds_the_cost_of_a_kernel(tmp_path: Path) -> None:
    """From times made with 2 µs a kernel over the bytes: 2 µs, and no residual."""
    bench = CsmMeasurement(options(tmp_path))
    kernels = {"backbone": 200, "depth": 1500, "codec": 300}
    sizes = {"backbone": 2_000_000_000, "depth": 7_000_000_000, "codec": 80_000_000}
    times = {stage: {"p50": 1e3 * (2e-6 * kernels[stage] + sizes[stage] / 4e12)} for stage in kernels}
    bench.result["bandwidth"] = {"copy_gb_s": 4000.0}
    bench.result["bytes"] = {"a_frame": sizes}
    bench.result["eager"] = {"counts": {"a_stage": kernels}, "split_ms": times}
    fit = bench.fit()
    assert fit["a_us_a_kernel"] == pytest.approx(2.0)
    assert all(abs(residual["off_ms"]) < 1e-9 for residual in fit["residuals"])


def options(out: Path, limit_s: float = 460.0) -> Any:
    return csm.parse(["--tiny", "--device", "cpu", "--out", str(out), "--limit-s", str(limit_s)])
