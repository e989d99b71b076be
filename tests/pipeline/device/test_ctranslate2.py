"""CTranslate2's messages for a GPU that it cannot use, without one: each becomes one line with the remedy."""

from __future__ import annotations

import asyncio
import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ctranslate2 = pytest.importorskip("ctranslate2", reason="needs the extra `cpu`")

from turngap_agent.device.ctranslate2 import explain_errors, prepare_gpu
from turngap_agent.errors import EngineError
from turngap_agent.stt.faster_whisper import engine as faster_whisper
from turngap_agent.stt.faster_whisper.settings import FasterWhisperSettings

NO_CUBLAS = "Library libcublas.so.12 is not found or cannot be loaded"
"""What CTranslate2 4.8 raises at its first work on the GPU."""


def count_gpus(count: int) -> Any:
    return lambda: count


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (NO_CUBLAS, r"cuBLAS of CUDA 12 .*run `pip install nvidia-cublas-cu12`, or .*LD_LIBRARY_PATH$"),
        ("Unable to load any of {libcudnn_ops.so.9}", r"cuDNN 9 .*`pip install -U ctranslate2` .*nvidia-cudnn-cu12"),
        (
            "CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
            r"driver is missing, or older than CUDA 12: check nvidia-smi, or set stt\.device: cpu$",
        ),
        ("CUDA failed with error no CUDA-capable device is detected", r"check nvidia-smi and CUDA_VISIBLE_DEVICES"),
        ("CUDA failed with error out of memory", r"memory is full: .*stt\.compute_type: int8_float16"),
        (
            "Requested float16 compute type, but the target device or backend do not support efficient float16 "
            "computation.",
            r"int8 and float32 a CPU: correct stt\.compute_type$",
        ),
    ],
)
def test_a_known_message_becomes_a_line_with_the_remedy(text: str, remedy: str) -> None:
    """The message stays in the line, so that it can be searched for."""
    with pytest.raises(EngineError, match=remedy) as caught, explain_errors("stt"):
        raise RuntimeError(text)
    assert str(caught.value).startswith(f"stt: {text}: ")


def test_an_unknown_message_passes() -> None:
    """No remedy is invented."""
    with pytest.raises(RuntimeError, match="something new"), explain_errors("stt"):
        raise RuntimeError("something new")


def test_a_cpu_needs_no_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is looked for where the profile wants none."""
    monkeypatch.delattr(ctranslate2, "get_cuda_device_count")
    prepare_gpu("stt", "cpu")


def test_a_missing_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to check, and how to run without one."""
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", count_gpus(0))
    with pytest.raises(
        EngineError, match=r"^stt: stt\.device is cuda, but CTranslate2 sees no NVIDIA GPU; check nvidia-"
    ):
        prepare_gpu("stt", "cuda")


def test_cublas_is_loaded_from_where_pip_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both libraries of nvidia-cublas-cu12 are loaded, the one that the other needs first."""
    folder = tmp_path / "nvidia/cublas/lib"
    folder.mkdir(parents=True)
    for name in ("libcublas.so.12", "libcublasLt.so.12", "libnvblas.so.12"):
        (folder / name).touch()
    loaded: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ctypes, "CDLL", lambda path: loaded.append(Path(path).name))
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", count_gpus(1))
    prepare_gpu("stt", "cuda")
    ours = [name for name in loaded if name != "libnvblas.so.12"]
    assert ours[:2] == ["libcublasLt.so.12", "libcublas.so.12"]
    assert loaded == ours


def test_a_cublas_that_cannot_be_loaded_is_left_to_ctranslate2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A damaged file is no error yet: another may be on the loader's path, and if not, CTranslate2 reports it."""
    folder = tmp_path / "nvidia/cublas/lib"
    folder.mkdir(parents=True)
    (folder / "libcublasLt.so.12").write_bytes(b"no library")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", count_gpus(1))
    prepare_gpu("stt", "cuda")


class WithoutCublas:
    """faster-whisper's model on a machine without cuBLAS: it loads, and fails at its first work."""

    arguments: dict[str, Any]

    def __init__(self, path: str, **settings: Any) -> None:
        type(self).arguments = {"path": path, **settings}
        self.hf_tokenizer = None
        self.frames_per_second = 100
        self.model = SimpleNamespace(is_multilingual=False, unload_model=lambda: None)
        self.feature_extractor = Extractor()

    def get_prompt(self, *_: Any, **__: Any) -> list[int]:
        return []

    def encode(self, features: Any) -> Any:
        raise RuntimeError(NO_CUBLAS)


class Extractor:
    """Returns features that nothing reads."""

    sampling_rate = 16_000

    def __call__(self, audio: Any, padding: int) -> Any:
        return np.zeros((80, 3000), np.float32)


@pytest.fixture
def no_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", count_gpus(1))
    monkeypatch.setattr(faster_whisper, "WhisperModel", WithoutCublas)
    monkeypatch.setattr(faster_whisper, "Tokenizer", lambda *_, **__: None)


def test_an_agent_without_cublas_does_not_start(no_cublas: None, tmp_path: Path) -> None:
    """The error is raised in the warm-up, before any call, and names the package to install."""
    stt = FasterWhisperSettings(engine="faster_whisper", model=str(tmp_path), device="cuda", compute_type="float16")
    engine = faster_whisper.FasterWhisper(stt)
    with pytest.raises(EngineError, match=r"^stt: Library libcublas\.so\.12 is not found .*nvidia-cublas-cu12"):
        asyncio.run(engine.warm_up())
    asyncio.run(engine.close())
    arguments = WithoutCublas.arguments
    assert (arguments["device"], arguments["compute_type"]) == ("cuda", "float16")


@pytest.mark.parametrize("compute_type", ["float16", "int8_float16"])
def test_number_formats_of_a_gpu_are_settings(compute_type: str) -> None:
    """16 bits a weight, and 8."""
    settings = FasterWhisperSettings.model_validate(
        {"engine": "faster_whisper", "device": "cuda", "compute_type": compute_type}
    )
    assert settings.compute_type == compute_type
