"""Weights inside an installed package are located and checked where they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import File, InstalledSource, Pin
from turngap_agent.weights.sources import installed

VOICE = b"voice"


def _pin(version: str = "1.0") -> Pin:
    file = File(source_path="voice/a.onnx", path="a.onnx", size=5, sha256=hashlib.sha256(VOICE).hexdigest())
    source = InstalledSource(kind="installed", package="tiny-voice", folder="voice")
    return Pin(name="tiny-voice", about="", version=version, licence="MIT", source=source, files=(file,))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice/a.onnx").write_bytes(VOICE)
    (tmp_path / "tiny_voice-1.0.dist-info").mkdir()
    (tmp_path / "tiny_voice-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-voice\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_installed_weights_are_used_in_place(site: Path) -> None:
    """The package's own folder is returned, nothing is copied."""
    assert installed.find(_pin()) == site / "voice"
    installed.verify(_pin())


def test_not_installed() -> None:
    """A package that is missing is one line with the command that installs the pinned version."""
    with pytest.raises(WeightsError, match=r"not installed: run `pip install tiny-voice==1\.0`"):
        installed.find(_pin())


def test_other_version(site: Path) -> None:
    """Another version than the pinned one is refused."""
    with pytest.raises(WeightsError, match=r"1\.0 is installed and 2\.0 is pinned"):
        installed.find(_pin("2.0"))


def test_changed_bytes(site: Path) -> None:
    """A file of the same size and other bytes passes the cheap look and fails verification."""
    (site / "voice/a.onnx").write_bytes(b"noise")
    installed.find(_pin())
    with pytest.raises(WeightsError, match="is not the pinned file"):
        installed.verify(_pin())
