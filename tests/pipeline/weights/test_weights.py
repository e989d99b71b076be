"""`weights.get`: fetched once, verified, whole or not at all, by one process at a time, and offline ever after."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from turngap_agent import weights
from turngap_agent.errors import UsageError, WeightsError
from turngap_agent.weights import cache, pins
from turngap_agent.weights.sources import download
from turngap_agent.weights.sources.progress import Silent

from tests.pipeline import hub_pin
from tests.pipeline.file_server import FileServer, serve

ROOT = Path(__file__).parents[3]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A cache of its own, one pinned entry `tiny`, and a hub that has it."""
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pins, "PINS", hub_pin.write(tmp_path))
    pins.shipped.cache_clear()
    with serve(FileServer({hub_pin.URL_PATH: hub_pin.CONTENT})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    pins.shipped.cache_clear()


def _get() -> Path:
    return weights.get("tiny", Silent())


def _left_over(folder: Path) -> list[str]:
    """Every file in the cache but locks."""
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not path.startswith(".locks/"))


def test_fetched_once(hub: FileServer) -> None:
    """The first call fetches; the second makes no request, and works without a network."""
    file = _get()
    assert file.read_bytes() == hub_pin.CONTENT
    hub.statuses[hub_pin.URL_PATH] = 500
    assert _get() == file
    assert len(hub.requests) == 1


def test_nothing_else_is_left(hub: FileServer, tmp_path: Path) -> None:
    """After a fetch the cache holds the entry and its manifest, no part and no staging folder."""
    place = _get().relative_to(tmp_path / "cache")
    assert _left_over(tmp_path / "cache") == sorted([str(place), str(place.parent / cache.MANIFEST)])


def test_wrong_checksum_leaves_nothing(hub: FileServer, tmp_path: Path) -> None:
    """Bytes that are not the pinned ones are one line and no file."""
    hub.files[hub_pin.URL_PATH] = hub_pin.CONTENT[::-1]
    with pytest.raises(WeightsError, match="not the pinned file"):
        _get()
    assert _left_over(tmp_path / "cache") == []
    assert list((tmp_path / "cache/.staging").iterdir()) == []


def test_full_disk_keeps_the_part(hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is one line with the remedy; with room again, the download resumes."""

    def fill_up(response: BinaryIO, file: BinaryIO, limit: int, progress: object) -> None:
        file.write(response.read(3000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download, "_copy", fill_up)
        with pytest.raises(WeightsError, match=r"^tiny .*disk is full .*TURNGAP_CACHE") as caught:
            _get()
    assert caught.value.code == "weights.storage"
    assert not cache.place(pins.of("tiny")).exists()
    assert _get().read_bytes() == hub_pin.CONTENT
    assert hub.requested_ranges() == [None, "bytes=3000-"]


def test_unwritable_cache(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that cannot be written to is one line with the remedy."""
    monkeypatch.setenv("TURNGAP_CACHE", "/sys/turngap")
    with pytest.raises(WeightsError, match=r"^tiny .*/sys/turngap.*TURNGAP_CACHE") as caught:
        _get()
    assert caught.value.code == "weights.storage"


def test_filled_cache_needs_no_writing(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached entry is returned without a lock or a write, so a read-only cache works."""
    file = _get()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(cache, "lock", refuse)
    monkeypatch.setattr(cache, "_write_manifest", refuse)
    os.utime(file, ns=(1, 1))
    assert _get() == file


def test_damaged_file_is_noticed(hub: FileServer) -> None:
    """A file whose size changed is refused with the command that mends it, and that command mends it."""
    file = _get()
    file.write_bytes(b"short")
    with pytest.raises(WeightsError, match=r"5 bytes, not 10000.*`.* weights pull tiny`") as caught:
        _get()
    assert caught.value.code == "weights.damaged"
    weights.pull("tiny", Silent())
    assert _get().read_bytes() == hub_pin.CONTENT


def test_removed_file_is_noticed(hub: FileServer) -> None:
    """A file that somebody removed from the cache is one line, not a crash in an engine."""
    _get().unlink()
    with pytest.raises(WeightsError, match="is missing: run"):
        _get()


def test_same_size_other_bytes(hub: FileServer) -> None:
    """A file rewritten with the same size is looked at, for its time has changed."""
    file = _get()
    file.write_bytes(hub_pin.CONTENT[::-1])
    os.utime(file, ns=(1, 1))
    with pytest.raises(WeightsError, match="is damaged"):
        _get()


def test_copied_cache_serves(hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder copied without its times is verified once and then trusted again."""
    file = _get()
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copyfile)
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "copy"))
    assert _get().read_bytes() == file.read_bytes()

    def forbid(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(cache, "file_digest", forbid)
    _get()
    assert len(hub.requests) == 1


def test_verify_reads_every_byte(hub: FileServer) -> None:
    """Damage that keeps size and time is detected by `verify`, and by nothing cheaper."""
    file = _get()
    times = file.stat()
    file.write_bytes(hub_pin.CONTENT[::-1])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert _get() == file
    (status,) = weights.verify(Silent())
    assert not status.cached
    assert "is damaged (its sha256 is" in status.problem


def test_new_pin_is_fetched_beside_the_old(hub: FileServer, tmp_path: Path) -> None:
    """A changed pin does not disturb what another version of turngap has in the same cache."""
    old = _get()
    content = b"newer" * 100
    hub_pin.write(tmp_path, content)
    pins.shipped.cache_clear()
    hub.files[hub_pin.URL_PATH] = content
    assert _get().read_bytes() == content
    assert old.read_bytes() == hub_pin.CONTENT


def test_killed_process_leaves_no_obstacle(hub: FileServer, tmp_path: Path) -> None:
    """Half-made staging and a lock file left by a killed process are no obstacle."""
    staging = tmp_path / "cache/.staging/tiny"
    staging.mkdir(parents=True)
    (staging / "half").write_bytes(b"x")
    (tmp_path / "cache/.locks").mkdir()
    (tmp_path / "cache/.locks/tiny").touch()
    assert [path.name for path in _get().parent.iterdir() if path.name != cache.MANIFEST] == ["model.bin"]


def test_two_processes_at_once(hub: FileServer, tmp_path: Path) -> None:
    """A second process says that it waits, then uses what the first has fetched: one download, one path."""
    hub.gate = threading.Event()
    script = "import sys; from pathlib import Path; from turngap_agent import weights; "
    script += "from turngap_agent.weights import pins; "
    script += "pins.PINS = Path(sys.argv[1]); print(weights.get('tiny'))"
    command = [sys.executable, "-c", script, str(tmp_path / "weights.toml")]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    # Whichever is second says so; only then does the server answer the first.
    lines: list[str] = []

    def listen(process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.strip())
            if "waiting for another process" in line:
                assert hub.gate is not None
                hub.gate.set()

    listeners = [threading.Thread(target=listen, args=(process,)) for process in both]
    for listener in listeners:
        listener.start()
    outputs = [process.stdout.read().strip() for process in both if process.stdout]
    for process, listener in zip(both, listeners, strict=True):
        assert process.wait(30) == 0, lines
        listener.join()
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
    assert lines.count("turngap: tiny: waiting for another process that fetches it") == 1
    assert len(hub.requests) == 1
    assert outputs[0] == outputs[1] != ""


def test_own_model(tmp_path: Path) -> None:
    """A path instead of a name is the user's own model, returned as it is; a missing one is one line."""
    assert weights.get(str(tmp_path), Silent()) == tmp_path
    with pytest.raises(UsageError, match="no such file or folder"):
        weights.get(str(tmp_path / "absent"), Silent())


def test_unknown_name(hub: FileServer) -> None:
    """Neither an entry nor a profile: a usage error that lists both."""
    with pytest.raises(UsageError, match=r"'tiniest' is neither weights \(tiny\) nor a profile \([a-z0-9, -]*cpu"):
        weights.pull("tiniest", Silent())


def test_tree_that_differs(tmp_path: Path) -> None:
    """A set of files that is not the pinned one is refused in one line with both counts."""
    (tmp_path / "a.wav").write_bytes(b"x")
    pin = pins.of("asterisk-prompts")
    with pytest.raises(WeightsError, match=r"\(1\).*1\.6\.1 \(570\)") as caught:
        weights._compare(pin, tmp_path)
    assert caught.value.code == "weights.mismatch"


@pytest.mark.engines
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this system has no apt-get")
def test_real_prompts() -> None:
    """Debian's prompts are the pinned ones: 568 recordings, with a transcript for the first of them."""
    folder = weights.get("asterisk-prompts")
    assert len(list((folder / "wav").rglob("*.wav"))) == 568
    assert "activated: Activated.\n" in (folder / "transcripts.txt").read_text("ascii")
