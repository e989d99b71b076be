"""Downloads resume where they broke off, and only the pinned bytes are accepted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from turngap_agent.errors import WeightsError
from turngap_agent.weights.sources.download import ATTEMPTS, RefusedError, Remote, download
from turngap_agent.weights.sources.progress import Silent

from tests.pipeline.file_server import FileServer, serve

BODY = bytes(range(256)) * 40


def _remote(url: str, body: bytes = BODY) -> Remote:
    return Remote(url, len(body), hashlib.sha256(body).hexdigest(), "model")


def _fetch(remote: Remote, folder: Path, waits: list[float] | None = None) -> Path:
    return download(remote, folder, Silent(), (waits if waits is not None else []).append)


def test_whole_file(tmp_path: Path) -> None:
    """A file arrives unchanged with one plain request."""
    with serve(FileServer({"/model": BODY})) as server:
        file = _fetch(_remote(f"{server.url}/model"), tmp_path)
    assert file.read_bytes() == BODY
    assert server.requested_ranges() == [None]


def test_resumes_after_a_broken_connection(tmp_path: Path) -> None:
    """A connection that ends early is taken up at the byte where it ended, at once when it had got on."""
    waits: list[float] = []
    with serve(FileServer({"/model": BODY}, break_after=[1000, 2000])) as server:
        file = _fetch(_remote(f"{server.url}/model"), tmp_path, waits)
    assert file.read_bytes() == BODY
    assert server.requested_ranges() == [None, "bytes=1000-", "bytes=3000-"]
    assert waits == [0, 0]


def test_resumes_what_an_earlier_run_left(tmp_path: Path) -> None:
    """A run that fails keeps its part and reports it; the next run requests the rest only."""
    with serve(FileServer({"/model": BODY}, break_after=[700, 0, 0, 0])) as server:
        remote = _remote(f"{server.url}/model")
        with pytest.raises(WeightsError, match=r"700 of 10240 bytes") as caught:
            _fetch(remote, tmp_path)
        assert caught.value.code == "weights.network"
        assert len(server.requests) == ATTEMPTS
        file = _fetch(remote, tmp_path)
    assert file.read_bytes() == BODY
    assert server.requested_ranges()[-1] == "bytes=700-"


def test_server_without_ranges(tmp_path: Path) -> None:
    """A server that ignores Range is read from the start, not appended."""
    with serve(FileServer({"/model": BODY}, ranges=False, break_after=[1000])) as server:
        file = _fetch(_remote(f"{server.url}/model"), tmp_path)
    assert file.read_bytes() == BODY


def test_wrong_bytes_leave_nothing(tmp_path: Path) -> None:
    """Bytes of the right length and the wrong checksum are refused in one line, and not kept."""
    wrong = FileServer({"/model": bytes(len(BODY))})
    with serve(wrong) as server, pytest.raises(WeightsError, match=r"^model: ") as caught:
        _fetch(_remote(f"{server.url}/model"), tmp_path)
    assert caught.value.code == "weights.mismatch"
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [500, len(BODY), len(BODY) + 7])
def test_damaged_part_is_replaced(tmp_path: Path, length: int) -> None:
    """A part that is not of this file (too short, as long, too long) costs one more download, not a failure."""
    with serve(FileServer({"/model": BODY})) as server:
        remote = _remote(f"{server.url}/model")
        (tmp_path / f"{remote.identity}.part").write_bytes(b"x" * length)
        assert _fetch(remote, tmp_path).read_bytes() == BODY


def test_longer_than_pinned(tmp_path: Path) -> None:
    """A file longer than the pin says is refused."""
    longer = FileServer({"/model": BODY + b"more"})
    with serve(longer) as server, pytest.raises(WeightsError, match="not the pinned file"):
        _fetch(_remote(f"{server.url}/model"), tmp_path)


def test_refusal_is_not_repeated(tmp_path: Path) -> None:
    """A server that refuses gets one request; the error has the status."""
    with serve() as server, pytest.raises(RefusedError) as caught:
        _fetch(_remote(f"{server.url}/model"), tmp_path)
    assert caught.value.status == 404
    assert len(server.requests) == 1


def test_server_fault_is_waited_for(tmp_path: Path) -> None:
    """HTTP 503 is retried after growing waits, then given up."""
    waits: list[float] = []
    busy = FileServer({"/model": BODY}, statuses={"/model": 503})
    with serve(busy) as server, pytest.raises(WeightsError, match="HTTP 503"):
        _fetch(_remote(f"{server.url}/model"), tmp_path, waits)
    assert waits == [1, 2, 4]


def test_no_network_hides_secrets(tmp_path: Path) -> None:
    """Without an answer there is one line with the address, less what may be secret in it."""
    with pytest.raises(WeightsError, match=r"^model: .*http://127\.0\.0\.1:9/model \(") as caught:
        _fetch(_remote("http://127.0.0.1:9/model?signature=hidden"), tmp_path)
    assert caught.value.code == "weights.network"
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_url(tmp_path: Path) -> None:
    """A file: URL, as from find-links, is copied; the original stays."""
    original = tmp_path / "mirror" / "model"
    original.parent.mkdir()
    original.write_bytes(BODY)
    assert _fetch(_remote(original.as_uri()), tmp_path).read_bytes() == BODY
    assert original.exists()


def test_secret_headers_stay_with_their_host(tmp_path: Path) -> None:
    """Headers of the remote are not sent on to where the server redirects."""
    with serve(FileServer({"/stored": BODY})) as store, serve() as server:
        server.redirects["/model"] = f"{store.url}/stored"
        remote = _remote(f"{server.url}/model")
        secret = Remote(remote.url, remote.size, remote.identity, "model", {"Authorization": "Bearer secret"})
        _fetch(secret, tmp_path)
    assert server.requests[0][1]["authorization"] == "Bearer secret"
    assert "authorization" not in store.requests[0][1]
