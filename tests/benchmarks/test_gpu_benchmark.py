"""The measurement of a GPU: complete on a CPU with tiny networks; a step that fails loses no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_machine, gpu_plan, gpu_report, gpu_steps
from benchmarks.gpu_machine import Card
from benchmarks.gpu_steps import GpuStep, StepOptions, StepResult

ROOT = Path(__file__).parents[2]
Steps = Callable[..., tuple[int, dict[str, Any]]]


def step(name: str, program: str, modules: tuple[str, ...] = (), share: float = 0.5) -> GpuStep:
    """Return a step that runs a line of Python and reads its output as JSON."""
    return command_step(name, [sys.executable, "-c", program], modules, share)


def command_step(name: str, command: list[str], modules: tuple[str, ...] = (), share: float = 0.5) -> GpuStep:
    return GpuStep(
        name,
        modules,
        "install it",
        share,
        lambda *_: command,
        lambda _, stdout: StepResult("measured", {"value": json.loads(stdout)}),
    )


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Run steps; return exit code and result."""

    def run(*steps: GpuStep, arguments: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(gpu, "STEPS", steps)
        monkeypatch.setattr(gpu, "NAMES", (*(one.name for one in steps), "memory"))
        code = gpu.main(["--tiny", "--out", str(tmp_path), *arguments])
        return code, json.loads(next(tmp_path.glob("cpu-*/gpu.json")).read_text())

    return run


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in result["steps"]}


@pytest.mark.engines
def test_all_steps_run_on_a_processor(tmp_path: Path) -> None:
    """Calibration, turns with gap and stages, CSM; memory is not known; results are named after the machine."""
    pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
    pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--turns", "2", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--limit-s", "900"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    (folder,) = tmp_path.iterdir()
    result = json.loads((folder / "gpu.json").read_text())
    steps = {each["name"]: each for each in result["steps"]}
    # On a loaded machine the instrument is late, and its results are invalid.
    calibration, turns = steps["calibration"]["figures"], steps["turns"]["figures"]
    assert steps["calibration"]["outcome"] == ("done" if calibration["valid"] else "invalid"), done.stderr
    assert steps["turns"]["outcome"] == ("invalid" if turns["verdict"] == "INVALID" else "done"), done.stderr
    assert steps["csm"]["outcome"] == "done", done.stderr
    assert (steps["memory"]["outcome"], steps["memory"]["text"]) == ("skipped", "the run saw no GPU")
    assert done.returncode == int("invalid" in outcomes(result).values())
    assert (turns["profile"], turns["n_turns"], turns["wer"]) == ("weightless-tiny", 2, None)
    assert turns["stages"]["transcription"]["p50_ms"] > 0
    assert folder.name.startswith("cpu-")
    assert "timing and memory only" in (folder / f"{folder.name}.html").read_text()
    report = (folder / f"{folder.name}.md").read_text()
    assert "Profile weightless-tiny, random weights: timing and memory only" in report
    assert steps["prepare"]["outcome"] == "done"
    assert set(steps["prepare"]["figures"]["models"]) == {"vad", "stt", "llm", "tts"}
    assert "| transcription |" in report
    assert "## CSM-1B: `csm-tiny-cpu" in report


def test_a_step_that_fails_loses_no_other(measure: Steps) -> None:
    """Exit code 1, its last line in the result, and the steps after it are measured."""
    bad = "import sys; print('a line', file=sys.stderr); sys.exit('out of memory')"
    code, result = measure(step("first", bad), step("second", "print(2)"))
    assert code == 1
    assert outcomes(result) == {"first": "failed", "second": "done", "memory": "skipped"}
    assert result["steps"][0]["text"] == "exit code 1: out of memory"
    assert result["steps"][1]["figures"] == {"value": 2}


def test_a_missing_package_is_named_with_its_remedy(measure: Steps) -> None:
    """It is not a failure: the other steps are measured."""
    code, result = measure(step("first", "print(1)", modules=("no_such_package",)), step("second", "print(2)"))
    assert code == 0
    assert outcomes(result) == {"first": "missing", "second": "done", "memory": "skipped"}
    assert result["steps"][0]["text"] == "ModuleNotFoundError: No module named 'no_such_package'; install it"


def test_a_step_that_takes_too_long_is_ended_and_keeps_its_results(measure: Steps) -> None:
    """It is interrupted as by Ctrl-C, so that it can write what it has measured."""
    # Without site packages Python is ready for the signal long before the limit; the handler is set even if the signal
    # was ignored when the tests were started.
    endless = (
        "import signal, time\ndef stop(*_):\n    print(7)\n    raise SystemExit\n"
        "signal.signal(signal.SIGINT, stop)\nwhile True: time.sleep(1)"
    )
    code, result = measure(
        command_step("first", [sys.executable, "-I", "-S", "-c", endless], share=5 / 600), step("second", "print(2)")
    )
    assert code == 1
    assert outcomes(result)["first"] == "timed out"
    assert result["steps"][0]["figures"] == {"value": 7}
    assert outcomes(result)["second"] == "done"


def test_only_the_chosen_steps_are_measured(measure: Steps) -> None:
    """The others are skipped, and the result says so."""
    steps = step("first", "print(1)"), step("second", "print(2)")
    code, result = measure(*steps, arguments=("--only", "second"))
    assert code == 0
    assert outcomes(result) == {"first": "skipped", "second": "done", "memory": "skipped"}


def test_no_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is started, and nothing is written."""
    monkeypatch.setattr(gpu_machine.shutil, "which", lambda _: None)
    no_torch = subprocess.CompletedProcess([], 1, "", "Traceback\nModuleNotFoundError: No module named 'torch'\n")
    monkeypatch.setattr(gpu_machine, "_run", lambda _: no_torch)
    assert gpu.main([]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No module named 'torch'" in error
    assert "--tiny" in error


def test_a_card_has_the_name_of_its_driver_and_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch it has the name from nvidia-smi: such a machine has a report too."""
    monkeypatch.setattr(gpu_machine.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    torch_says = json.dumps({"card": "NVIDIA H200", "memory_mib": 143_000, "cuda": "12.8"})

    def fake_run(command: list[str], *, torch: bool) -> subprocess.CompletedProcess[str]:
        if command[0] == "nvidia-smi":
            return subprocess.CompletedProcess(command, 0, "NVIDIA H200, 570.1\n", "")
        return subprocess.CompletedProcess(command, int(not torch), torch_says if torch else "", "no torch")

    monkeypatch.setattr(gpu_machine, "_run", lambda command: fake_run(command, torch=True))
    whole = gpu_machine.find_card()
    assert whole == Card("NVIDIA H200", {"memory_mib": 143_000, "cuda": "12.8", "driver": "570.1"})
    assert isinstance(whole, Card)
    assert whole.slug == "nvidia-h200"
    monkeypatch.setattr(gpu_machine, "_run", lambda command: fake_run(command, torch=False))
    assert gpu_machine.find_card() == Card("NVIDIA H200", {"driver": "570.1", "torch_says": "no torch"})


def test_turns_are_judged_if_there_are_enough(tmp_path: Path) -> None:
    """93 turns have a budget, 58 do not, and tiny networks are never judged; the default is 93 or more."""

    def command(turns: int, *, tiny: bool = False) -> list[str]:
        wanted = StepOptions(tmp_path, tiny, "weightless-hf", turns, ("llm.positions=1024",))
        return next(one for one in gpu_steps.STEPS if one.name == "turns").command(wanted, 500)

    assert command(93)[-2:] == ["--budget", "sub500"]
    assert "--budget" not in command(58) + command(93, tiny=True)
    assert command(93)[command(93).index("--set") + 1] == "llm.positions=1024"
    assert gpu_plan.TURNS >= 93


def test_memory_adds_up_to_the_peak() -> None:
    """The memory before the run, of the engines, and during the calls."""
    gpus = [{"name": "NVIDIA H200", "total_mib": 143_000.0, "used_peak_mib": 90_000.0, "used_before_mib": 500.0}]
    record = {"gpus": gpus, "agent": {"memory_mib": {"stt": 2000.0, "llm": 60_000.0, "tts": 4000.0}}}
    result = gpu_steps.memory(record)
    assert isinstance(result, StepResult)
    parts = result.figures["memory_mib"]
    peak, card, headroom = (parts.pop(name) for name in ("peak", "card", "headroom"))
    assert sum(parts.values()) == peak == card - headroom
    assert isinstance(gpu_steps.memory(None), str)


def test_the_report_lists_failed_steps(tmp_path: Path) -> None:
    """A result without figures has a report too, and a `|` in a message does not break the table."""
    steps = [{"name": "csm", "outcome": "failed", "took_s": 1.0, "text": "a | b", "figures": {}}]
    report = gpu_report.markdown({"card": "X", "caveat": "profile x, weightless", "machine": {}, "steps": steps})
    assert "| csm | failed | 1 | a \\| b |" in report
    assert "Profile x, weightless." in report


def test_it_starts_with_python_only() -> None:
    """No package, of the project or another, is needed to find out which are missing."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import benchmarks.gpu"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def csm_step(folder: Path, run_id: str = "new") -> tuple[GpuStep, StepOptions]:
    step = next(one for one in gpu_steps.STEPS if one.name == "csm")
    return step, StepOptions(folder, tiny=False, profile="weightless-hf", turns=59, overrides=(), run_id=run_id)


def write_csm(folder: Path, run_id: str, **changes: Any) -> None:
    verdict = {"mode": "graphs", "frame_p95_ms": 9.0, "codec_differs": [], "codec_db": {}}
    verdict |= {"turn_first_audio_p95_ms": None, "times_faster_than_transformers": None}
    result = {"options": {"run_id": run_id}, "failed": {}, "verdict": verdict} | changes
    (folder / "csm-card.json").write_text(json.dumps(result))


def test_an_older_result_of_csm_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """It has another run's id; the command hands the id of this one over."""
    step, options = csm_step(tmp_path)
    command = step.command(options, 240)
    assert command[command.index("--run-id") + 1] == "new"
    for left_s in (240.0, 1800.0):  # the whole time that is left, but for starting and writing
        command = step.command(options, left_s)
        assert float(command[command.index("--limit-s") + 1]) == left_s - 15
    write_csm(tmp_path, "old")
    with pytest.raises(ValueError, match="no result"):
        step.read(options, "")
    write_csm(tmp_path, "new")
    assert step.read(options, "").text.startswith("graphs: a frame")


def test_a_process_that_crashed_has_failed_whatever_it_wrote(measure: Steps) -> None:
    """Its figures are kept, its outcome is `failed`, and the exit code is named."""
    crash = "import os\nprint(7, flush=True)\nos.abort()"
    code, result = measure(step("first", crash))
    assert code == 1
    assert outcomes(result)["first"] == "failed"
    assert result["steps"][0]["figures"] == {"value": 7}
    assert "exit code -6" in result["steps"][0]["text"]


def test_what_the_limit_stopped_is_not_invalid_and_other_failures_are(tmp_path: Path) -> None:
    """Parts that were cut off are listed; a part that failed, or a codec with other samples, invalidates the step."""
    step, options = csm_step(tmp_path)
    write_csm(tmp_path, "new", failed={"compiled": "LimitReachedError: the limit of 240 s was reached"})
    cut = step.read(options, "")
    assert (cut.invalid, "not measured: compiled" in cut.text) == (False, True)
    write_csm(tmp_path, "new", failed={"compiled": "EngineError: no"})
    assert step.read(options, "").invalid
    write_csm(tmp_path, "new")
    figures = step.read(options, "").figures
    write_csm(tmp_path, "new", verdict=figures["verdict"] | {"codec_differs": ["compiled"]})
    assert "differ" in step.read(options, "").text
    write_csm(tmp_path, "new", verdict=None)
    assert step.read(options, "").invalid


def test_a_report_that_cannot_be_made_loses_no_step(measure: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that follow are measured, the data is whole, and the page says what happened."""

    def fail(_: Any) -> str:
        raise KeyError("turn_gap_ms")

    monkeypatch.setattr(gpu_report, "markdown", fail)
    code, result = measure(step("first", "print(1)"), step("second", "print(2)"))
    assert (code, outcomes(result)["second"]) == (0, "done")


def test_turns_without_memory_figures_are_a_failed_step(tmp_path: Path) -> None:
    """The last step says what is missing; the others keep their results."""
    options = StepOptions(tmp_path, tiny=True, profile="x", turns=1, overrides=())
    result = {"steps": [{"name": "turns", "figures": {"agent": {}}}]}
    measurement = gpu.GpuMeasurement(Card("X", {}), options, ("memory",), 600.0, result)
    assert measurement._memory()[0] == "failed"


def test_the_report_shows_csm_without_some_of_its_parts(tmp_path: Path) -> None:
    """First audio, transformers and modes may be missing; what is there is shown."""
    write_csm(tmp_path, "new", failed={"transformers": "OutOfMemoryError: no"})
    step, options = csm_step(tmp_path)
    figures = step.read(options, "").figures
    steps = [{"name": "csm", "outcome": "invalid", "took_s": 1.0, "text": "", "figures": figures}]
    report = gpu_report.markdown({"card": "X", "caveat": "c", "machine": {}, "steps": steps})
    assert "| a frame of 80 ms at p95, ms | 9.00 |" in report
    assert "| times faster than transformers' generate | not measured |" in report
    assert "| transformers: not measured | OutOfMemoryError: no |" in report
