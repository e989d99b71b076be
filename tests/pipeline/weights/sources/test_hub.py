"""The hub source against a local double of the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import File, HubSource, Pin
from turngap_agent.weights.sources import hub
from turngap_agent.weights.sources.progress import Silent

from tests.pipeline.file_server import FileServer, serve

REVISION = "c" * 40
CONFIG = b'{"model_type": "csm"}'
SHARD = b"weights" * 999


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _pin() -> Pin:
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(SHARD).hexdigest()}\nsize {len(SHARD)}\n"
    ).encode()
    files = (
        File(source_path="config.json", path="config.json", size=len(CONFIG), git=_git(CONFIG)),
        File(source_path="sub/shard.bin", path="sub/shard.bin", size=len(SHARD), git=_git(pointer)),
    )
    source = HubSource(kind="hub", repo="sesame/csm", revision=REVISION, gated=True)
    return Pin(name="csm", about="", version="1", licence="Apache-2.0", source=source, files=files)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    base = f"/sesame/csm/resolve/{REVISION}"
    with serve(FileServer({f"{base}/config.json": CONFIG, f"{base}/sub/shard.bin": SHARD})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-such-token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


def _fetch(tmp_path: Path) -> Path:
    into, partial = tmp_path / "into", tmp_path / "partial"
    into.mkdir(exist_ok=True)
    partial.mkdir(exist_ok=True)
    hub.fetch(_pin(), into, partial, Silent())
    return into


def test_files_by_git_object_id(double: FileServer, tmp_path: Path) -> None:
    """Files are fetched at the pinned commit and recognised by git object, a large one by its LFS pointer's."""
    into = _fetch(tmp_path)
    assert (into / "config.json").read_bytes() == CONFIG
    assert (into / "sub/shard.bin").read_bytes() == SHARD


def test_changed_large_file_is_refused(double: FileServer, tmp_path: Path) -> None:
    """A large file whose bytes are not what the pinned LFS pointer says is refused."""
    double.files[f"/sesame/csm/resolve/{REVISION}/sub/shard.bin"] = SHARD[::-1]
    with pytest.raises(WeightsError, match=r"csm sub/shard\.bin: .*not the pinned file"):
        _fetch(tmp_path)


def test_token_is_sent(double: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN goes along as a bearer token."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    _fetch(tmp_path)
    assert {headers["authorization"] for _, headers in double.requests} == {"Bearer hf_secret"}


def test_stored_token_is_sent(double: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without HF_TOKEN the token of a login is used."""
    (tmp_path / "token").write_text("hf_stored\n")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    _fetch(tmp_path)
    assert double.requests[0][1]["authorization"] == "Bearer hf_stored"


@pytest.mark.parametrize(
    ("token", "status", "code", "facts"),
    [
        ("", 401, "weights.access", ("gated", "https://huggingface.co/sesame/csm", "HF_TOKEN")),
        ("hf_secret", 403, "weights.access", ("403", "https://huggingface.co/sesame/csm")),
        ("hf_secret", 404, "weights.gone", (REVISION[:12],)),
    ],
)
def test_no_access(
    double: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    status: int,
    code: str,
    facts: tuple[str, ...],
) -> None:
    """A gated repository, a token without access, a vanished revision: one line each, and none shows the token."""
    monkeypatch.setenv("HF_TOKEN", token)
    double.statuses[f"/sesame/csm/resolve/{REVISION}/config.json"] = status
    with pytest.raises(WeightsError) as caught:
        _fetch(tmp_path)
    assert caught.value.code == code
    assert all(fact in str(caught.value) for fact in facts)
    assert "secret" not in str(caught.value)


def test_offline_mode_is_honoured(double: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HF_HUB_OFFLINE nothing is requested, and the error names it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE") as caught:
        _fetch(tmp_path)
    assert caught.value.code == "weights.offline"
    assert double.requests == []


def test_complete_parts_survive_a_failure(double: FileServer, tmp_path: Path) -> None:
    """When a later file fails, the files before it are not fetched again."""
    shard = f"/sesame/csm/resolve/{REVISION}/sub/shard.bin"
    double.statuses[shard] = 404
    with pytest.raises(WeightsError):
        _fetch(tmp_path)
    del double.statuses[shard]
    _fetch(tmp_path)
    assert [path.rpartition("/")[2] for path, _ in double.requests] == ["config.json", "shard.bin", "shard.bin"]
