"""The entry point is light to import, and its errors name what to install."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from turngap_agent import loading, profile
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm.settings import CsmSettings

if TYPE_CHECKING:
    from conftest import MakeSpeech


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers"])
def test_a_missing_extra_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the profile's loader: with the missing package, and the command that installs it."""
    for name in ("tokenizers", "torch", "transformers"):
        if name != package:
            monkeypatch.setitem(sys.modules, name, sys)
    monkeypatch.setitem(sys.modules, package, None)
    with_csm = profile.load("scripted").model_copy(update={"tts": CsmSettings(engine="csm", device="cpu")})
    with pytest.raises(
        EngineError, match=rf"^tts: engine csm is not installed \(no {package}\); run: pip install 'turngap\[csm\]'$"
    ):
        asyncio.run(loading.load(with_csm))


def test_profiles_and_errors_need_no_torch() -> None:
    """Importing the package imports nothing of the extra."""
    code = (
        "import sys; import turngap_agent.tts.csm; sys.exit(', '.join({'torch', 'transformers'} & {*sys.modules}) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tts.mode=fast", r"`tts.mode` .*'compiled', 'graphs' or 'eager'"),
        ("tts.top_k=0", r"`tts.top_k` .*at least 1"),
        ("tts.context_positions=4096", r"`tts.context_positions` .*at most 2048"),
        ("tts.temprature=1", r"unknown key `tts.temprature`; did you mean `temperature`"),
    ],
)
def test_invalid_settings_are_errors_before_anything_loads(
    override: str, message: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Mode, ranges and names are checked with the profile."""
    path = tmp_path_factory.mktemp("profile") / "mine.yaml"
    scripted = (profile.PROFILES / "scripted.yaml").read_text("utf-8")
    path.write_text(scripted.replace("tts: {engine: scripted}", "tts: {engine: csm, weights: random}"), "utf-8")
    with pytest.raises(profile.ProfileError, match=message):
        profile.load(str(path), (override,))


@pytest.mark.skipif(not find_spec("torch"), reason="needs the extra csm: pip install 'turngap[csm]'")
def test_memory_that_runs_out_inside_a_capture_keeps_its_remedy(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer slots, not another mode: the cause of the failed capture says so."""
    import torch
    from turngap_agent.device.execution import CaptureError, Mode

    speech = make_speech()

    def fail(*_: object) -> None:
        raise CaptureError("a CUDA graph could not be captured") from torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(speech, "_make_slots", fail)
    with pytest.raises(EngineError, match=r"out of memory for 4 slots, in the capture.*; lower tts\.slots"):
        speech.prepare(Mode.GRAPHS, 4)
