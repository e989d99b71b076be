"""Faster paths are measured side by side, and how like the reference int8 is, by what can be computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import CaptureError, Mode
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm import model, random_weights
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.speech import Speech

from benchmarks import csm
from benchmarks.speech import likeness
from benchmarks.speech.fast_path_measurement import PATHS, FastPathMeasurement

PLAN = SpeechPlan((), tuple(range(20, 35)), 40, reads_end=False)
RATE = 24_000


@pytest.fixture(scope="module")
def checkpoint() -> model.CsmCheckpoint:
    """The tiny network, with weights large enough that its codes are not all equally likely."""
    with model.silence_transformers():
        network = random_weights.build(random_weights.tiny(), torch.device("cpu"), torch.float32, scale=0.3)
    model.trim_heads(network)
    return model.CsmCheckpoint(network, StandInTokenizer(256), "tiny", random=True)


def make_speech(checkpoint: model.CsmCheckpoint, fast: FastPaths = REFERENCE) -> Speech:
    speech = Speech(checkpoint, sampling=Sampling(0.9, 20), positions=256, fast=fast)
    speech.prepare(Mode.EAGER, 1)
    return speech


def test_the_reference_is_like_itself(checkpoint: model.CsmCheckpoint) -> None:
    """All codes, no chance and no sound differ; another draw does, which is the yardstick."""
    distances = likeness.measure(make_speech(checkpoint), make_speech(checkpoint), PLAN)
    assert distances["other"] == {"same_codes": 1.0, "spectral_distance_db": 0.0, "changed_chance": 0.0}
    assert distances["another_draw"]["same_codes"] < 0.9
    assert distances["another_draw"]["spectral_distance_db"] > 0
    assert distances["frames"] == PLAN.frames


def test_int8_is_nearer_than_another_draw_and_a_damaged_one_is_not(checkpoint: model.CsmCheckpoint) -> None:
    """Rounded weights change few codes; one layer whose weights are twice as large is noticed by every distance."""
    reference, int8 = make_speech(checkpoint), make_speech(checkpoint, FastPaths(int8_depth=True))
    near = likeness.measure(reference, int8, PLAN)
    int8.depth.stack.layers[0].down.scale.mul_(2)
    int8.depth.stack.layers[1].qkv.scale.mul_(2)
    far = likeness.measure(reference, int8, PLAN)
    assert near["other"]["same_codes"] > 0.9
    assert near["other"]["changed_chance"] < 0.05
    assert near["other"]["spectral_distance_db"] < near["another_draw"]["spectral_distance_db"] / 2
    assert far["other"]["same_codes"] < near["other"]["same_codes"]
    assert far["other"]["changed_chance"] > 3 * near["other"]["changed_chance"]
    assert far["other"]["spectral_distance_db"] > near["other"]["spectral_distance_db"]


def test_the_spectral_distance_is_a_difference_of_levels() -> None:
    """A sound of twice the level is 6.02 dB away in every bin; what is 60 dB below the loudest does not count."""
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(1))
    assert likeness.spectral_distance_db(noise, noise) == 0
    assert likeness.spectral_distance_db(noise, 2 * noise) == pytest.approx(6.02, abs=0.05)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)
    assert likeness.spectral_distance_db(tone, tone + 1e-6 * noise) < 0.05
    assert likeness.spectral_distance_db(tone, tone + 1e-1 * noise) > 5


def options(out: Path, paths: str) -> Any:
    return csm.parse(["--tiny", "--device", "cpu", "--paths", paths, "--out", str(out)])


def test_the_paths_of_a_device_are_measured_in_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a CPU those without kernels: each has frame times beside the reference's, and its codes are compared."""
    assert csm.main(["--tiny", "--device", "cpu", "--paths", "all", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("csm-paths-tiny-cpu")
    result = json.loads(file.read_text())
    assert result["failed"] == {}
    eager = result["eager"]
    assert list(eager["paths"]) == ["reference", "beside", "int8", "batched"]
    assert eager["paths"]["reference"]["of_reference"] == {"p50": 1.0, "least": 1.0, "most": 1.0}
    counts = {path["frame_ms"]["n"] for path in eager["paths"].values()}
    assert counts == {2 * 2}
    same = {name: eager[f"{name} frames_of_8_as_reference"] for name in ("reference", "beside", "batched")}
    assert set(same.values()) == {8}
    assert 0 <= eager["int8 likeness"]["other"]["changed_chance"] < 0.1
    printed = capsys.readouterr().out
    assert "of the reference" in printed
    assert "must differ" in printed


def test_a_path_that_does_not_work_here_loses_no_other(tmp_path: Path) -> None:
    """Kernels need a GPU: named on a CPU they are listed as failed, in the engine's own line."""
    bench = FastPathMeasurement(options(tmp_path, "sampling,beside"))
    result = bench.run()
    assert "fused_kernels need an NVIDIA GPU" in result["failed"]["eager sampling prepared"]
    assert list(result["eager"]["paths"]) == ["reference", "beside"]


def test_after_a_failed_capture_no_path_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured in the mode before it is kept; the path is named."""
    prepare = Speech.prepare

    def fail(speech: Speech, mode: Mode | None, slots: int) -> None:
        if speech.fast.codec_beside:
            raise EngineError("csm: no") from CaptureError("a CUDA graph could not be captured")
        prepare(speech, mode, slots)

    monkeypatch.setattr(Speech, "prepare", fail)
    given = options(tmp_path, "beside,int8")
    given.modes = "eager,graphs"
    result = FastPathMeasurement(given).run()
    assert "leave it out" in result["failed"]["eager rest"]
    assert "paths" not in result["eager"]
    assert "not tried after a failed capture" in result["failed"]["graphs"]


def test_an_unknown_path_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names those that there are; nothing is measured."""
    assert csm.main(["--tiny", "--device", "cpu", "--paths", "faster", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'faster'" in error
    assert all(name in error for name in PATHS)
    assert not list(tmp_path.iterdir())
