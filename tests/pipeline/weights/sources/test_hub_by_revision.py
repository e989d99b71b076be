"""Pins by their revision alone, against a local double of the hub: what it states, the lock, and offline ever after."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent import weights
from turngap_agent.errors import WeightsError
from turngap_agent.weights import cache, pins
from turngap_agent.weights.pins import File, HubSource
from turngap_agent.weights.sources import hub
from turngap_agent.weights.sources.progress import Silent

from tests.pipeline.file_server import FileServer, serve

REVISION = "d" * 40
FILES = {"config.json": b'{"model_type": "whisper"}', "sub/model.safetensors": b"weights" * 999, "flax.msgpack": b"no"}
BASE, LISTING = f"/org/model/resolve/{REVISION}", f"/api/models/org/model/tree/{REVISION}"
PINS = f"""
[model]
about = "a model whose files nobody wrote down"
version = "1"
licence = "MIT"
[model.source]
kind = "hub"
repo = "org/model"
revision = "{REVISION}"
take = ["config.json", "*.safetensors"]
size = 7000
"""


def row(path: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it: in Git LFS its own id is the pointer's, and the sha256 is beside it."""
    if path.endswith("safetensors"):
        lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 129}
        return {"type": "file", "path": path, "oid": "e" * 40, "size": len(content), "lfs": lfs}
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"type": "file", "path": path, "oid": oid, "size": len(content)}


def list_rows(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps([{"type": "directory", "path": "sub", "oid": "f" * 40, "size": 0}, *rows]).encode()


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A cache and pins of its own, and a hub that has the repository."""
    (tmp_path / "weights.toml").write_text(PINS)
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the library's retries
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(pins, "PINS", tmp_path / "weights.toml")
    pins.shipped.cache_clear()
    files = {f"{BASE}/{path}": content for path, content in FILES.items()}
    with serve(FileServer({**files, LISTING: list_rows([row(*each) for each in FILES.items()])})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    pins.shipped.cache_clear()


def get() -> Path:
    return weights.get("model", Silent())


def test_what_take_names_is_fetched_and_locked(double: FileServer) -> None:
    """The files are those that `take` names, each with what the hub stated of it in the lock."""
    folder = get()
    names = {str(path.relative_to(folder)) for path in cache.files_below(folder)}
    assert names == {"config.json", "sub/model.safetensors", hub.LOCK}
    lock = json.loads((folder / hub.LOCK).read_text())
    assert (lock["repo"], lock["revision"]) == ("org/model", REVISION)
    config, model = lock["files"]
    assert config["git"] == row("config.json", FILES["config.json"])["oid"]
    assert model["sha256"] == hashlib.sha256(FILES["sub/model.safetensors"]).hexdigest()


def test_verified_without_a_network(double: FileServer) -> None:
    """Once it is cached the hub is not needed, neither to use it nor to verify every byte."""
    get()
    requests = len(double.requests)
    get()
    (status,) = weights.verify(Silent(), ["model"])
    assert (status.cached, status.problem, len(double.requests)) == (True, "", requests)


def test_a_damaged_file_is_detected_offline(double: FileServer) -> None:
    """The same length and time do not hide another byte from `verify`."""
    model = get() / "sub/model.safetensors"
    before = model.stat()
    model.write_bytes(b"W" + FILES["sub/model.safetensors"][1:])
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    (status,) = weights.verify(Silent(), ["model"])
    assert "model.safetensors is damaged" in status.problem


def test_bytes_that_are_not_what_was_stated_are_refused(double: FileServer, tmp_path: Path) -> None:
    """A mirror that sends other bytes than the listing says is one line, and nothing is kept."""
    double.files[f"{BASE}/sub/model.safetensors"] = FILES["sub/model.safetensors"][::-1]
    with pytest.raises(WeightsError, match=r"model sub/model\.safetensors: ") as caught:
        get()
    assert caught.value.code == "weights.mismatch"
    assert not (tmp_path / "cache/model").exists()


def test_the_token_goes_to_the_listing_too(double: FileServer) -> None:
    """A gated repository's listing may want it as well as its files."""
    get()
    assert [headers.get("authorization") for _, headers in double.requests] == ["Bearer hf_secret"] * 3


def test_the_listing_has_the_token_where_the_library_adds_none(
    double: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`HF_HUB_DISABLE_IMPLICIT_TOKEN` is for requests that name no token; these do."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    get()
    assert [headers.get("authorization") for _, headers in double.requests] == ["Bearer hf_secret"] * 3


@pytest.mark.parametrize(
    ("status", "code", "fact"),
    [
        (401, "weights.access", "HTTP 401"),
        (404, "weights.gone", REVISION[:12]),
        (503, "weights.network", "HTTP 503"),
    ],
)
def test_a_hub_that_lists_nothing(double: FileServer, status: int, code: str, fact: str) -> None:
    """No access, a vanished commit, a hub out of order: one line each, and none shows the token."""
    double.statuses[LISTING] = status
    with pytest.raises(WeightsError, match=fact) as caught:
        get()
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


def test_a_repository_that_wants_a_login_without_being_known_as_gated(
    double: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have become so: the line says where to look and what to set."""
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/no-such-token")
    double.statuses[LISTING] = 401
    with pytest.raises(WeightsError, match=r"https://huggingface\.co/org/model.* HF_TOKEN") as caught:
        get()
    assert caught.value.code == "weights.access"


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>welcome</html>",
        b'{"error": "no"}',
        b'[{"type": "file", "path": "config.json"}]',
        b'["config.json"]',
        list_rows([row("../config.json", b"{}") | {"path": "sub/../../config.json"}, row("a.safetensors", b"")]),
    ],
)
def test_an_answer_that_is_not_a_listing(double: FileServer, answer: bytes) -> None:
    """A server at HF_ENDPOINT that is no hub is recognised, and no path leads out of the entry's folder."""
    double.files[LISTING] = answer
    with pytest.raises(WeightsError) as caught:
        get()
    assert caught.value.code == "weights.listing"


def test_a_file_that_take_names_must_be_there(double: FileServer) -> None:
    """A commit without it is not the one that was meant."""
    double.files[LISTING] = list_rows([row("x.safetensors", b"")])
    with pytest.raises(WeightsError, match=r"org/model .*config\.json.* dddddddddddd") as caught:
        get()
    assert caught.value.code == "weights.listing"


def test_no_network(double: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the place which did not answer."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9/api/models/org/model") as caught:
        get()
    assert caught.value.code == "weights.network"


def test_two_files_with_the_same_bytes(double: FileServer) -> None:
    """They are fetched once, and both are there."""
    content = FILES["sub/model.safetensors"]
    double.files[f"{BASE}/copy.safetensors"] = content
    rows = [
        row("config.json", FILES["config.json"]),
        row("copy.safetensors", content),
        row("sub/model.safetensors", content),
    ]
    double.files[LISTING] = list_rows(rows)
    folder = get()
    assert (folder / "copy.safetensors").read_bytes() == (folder / "sub/model.safetensors").read_bytes() == content


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 9)
    | st.text(max_size=6)
    | st.sampled_from(["file", "config.json", "../a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "path", "size", "oid", "lfs"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def mirror() -> Iterator[FileServer]:
    """A server for many listings."""
    with serve() as server:
        yield server


@given(rows=st.lists(JSON, max_size=4))
def test_any_answer_is_files_or_one_line(mirror: FileServer, rows: list[Any]) -> None:
    """Whatever JSON a mirror sends: files inside the entry's folder, or an error that names it."""
    source = HubSource(kind="hub", repo="org/model", revision=REVISION, take=("config.json", "*"))
    files: tuple[File, ...] = ()
    mirror.files[LISTING] = json.dumps(rows).encode()
    requests = len(mirror.requests)
    with suppress(WeightsError):
        files = hub.list_files("m", source, mirror.url, None)
    assert len(mirror.requests) == requests + 1
    assert all(".." not in file.path.split("/") and not file.path.startswith("/") for file in files)
