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

from benchmarks import csm
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
