"""Debian packages through apt-get, here through stand-ins for apt-get and dpkg-deb on the PATH."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import DebianSource, Pin, Tree, Unpack
from turngap_agent.weights.sources import debian
from turngap_agent.weights.sources.progress import Silent

APT = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
  *" update"*) echo "$UPDATE_SAYS" >&2; exit 0;;
  *--print-uris*) echo "'http://mirror/prompts.deb' prompts_1_all.deb 1000 SHA256:00"; exit $LISTS;;
  *) echo "dlstatus:1:40.0:Retrieving file 1 of 1"; echo "dlstatus:1:100.0:Retrieving file 1 of 1"
     echo "$DOWNLOAD_SAYS" >&2; touch prompts_1_all.deb; exit $DOWNLOADS;;
esac
"""
# dpkg-deb --extract PACKAGE FOLDER
DPKG = """#!/bin/sh
mkdir -p "$3/usr/share/sounds/en/digits" "$3/usr/share/doc"
echo one > "$3/usr/share/sounds/en/digits/1.wav"
printf 'one: One.\\n' | gzip > "$3/usr/share/doc/en.txt.gz"
"""


class Recorder(Silent):
    """Keeps what was shown."""

    def __init__(self) -> None:
        self.total = 0
        self.steps: list[int] = []

    def begin(self, what: str, total_bytes: int, done_bytes: int = 0) -> None:
        self.total = total_bytes

    def advance(self, n_bytes: int) -> None:
        self.steps.append(n_bytes)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, script in (("apt-get", APT), ("dpkg-deb", DPKG)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for key, value in {"LISTS": "0", "DOWNLOADS": "0", "UPDATE_SAYS": "", "DOWNLOAD_SAYS": ""}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path


def _fetch(folder: Path, from_: str = "usr/share/sounds/en") -> tuple[Path, Recorder]:
    unpack = (Unpack(source_path=from_, path="wav"), Unpack(source_path="usr/share/doc/en.txt.gz", path="words.txt"))
    source = DebianSource(kind="debian", packages=("prompts",), unpack=unpack)
    tree = Tree(files=2, size=1, sha256="0" * 64)
    pin = Pin(name="voice", about="", version="1", licence="CC-BY-SA-3.0", source=source, tree=tree)
    into, partial, recorder = folder / "into", folder / "partial", Recorder()
    into.mkdir()
    partial.mkdir()
    debian.fetch(pin, into, partial, recorder)
    return into, recorder


def test_unpacks_the_pinned_files(apt: Path) -> None:
    """Folders are copied, gzipped texts unzipped, and the working files removed."""
    into, _ = _fetch(apt)
    assert (into / "wav/digits/1.wav").read_text() == "one\n"
    assert (into / "words.txt").read_text() == "one: One.\n"
    assert list((apt / "partial").iterdir()) == []


def test_shows_apts_progress(apt: Path) -> None:
    """apt's percentages become bytes of the announced size."""
    _, recorder = _fetch(apt)
    assert recorder.total == 1000
    assert recorder.steps == [400, 600]


def test_state_is_private(apt: Path) -> None:
    """Every apt-get call keeps its lists, cache and log out of the system's folders: neither root nor a lock there."""
    _fetch(apt)
    calls = (apt / "log").read_text().splitlines()
    assert len(calls) == 3
    for option in ("Dir::State=", "Dir::State::lists=", "Dir::Cache=", "Dir::Log="):
        assert all(f"-o {option}{apt / 'partial' / 'apt'}" in call for call in calls)


def test_no_apt(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without apt-get: one line with the packages' names and what to do."""
    monkeypatch.setenv("PATH", str(apt / "empty"))
    with pytest.raises(WeightsError, match=r"\(prompts\), and apt-get is not installed"):
        _fetch(apt)


def test_no_network(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no list could be read, the reason named is the update's, not the missing package that follows from it."""
    monkeypatch.setenv("UPDATE_SAYS", "W: Failed to fetch http://mirror/InRelease  Could not resolve 'mirror'")
    monkeypatch.setenv("LISTS", "100")
    with pytest.raises(WeightsError, match=r"apt-get failed \(Failed to fetch .* resolve 'mirror'\)"):
        _fetch(apt)


def test_one_dead_mirror_is_not_an_error(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that cannot be read does no harm when the packages are available."""
    monkeypatch.setenv("UPDATE_SAYS", "W: Failed to fetch http://other/InRelease  Could not resolve 'other'")
    assert (_fetch(apt)[0] / "words.txt").exists()


def test_full_disk(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt's error about space becomes the same error as our own writes raise."""
    monkeypatch.setenv("DOWNLOAD_SAYS", "E: You don't have enough free space in /partial/.")
    monkeypatch.setenv("DOWNLOADS", "100")
    with pytest.raises(OSError, match="No space left"):
        _fetch(apt)


def test_other_package_layout(apt: Path) -> None:
    """A package that lacks what is pinned is one line."""
    with pytest.raises(WeightsError, match="the Debian package has no fr"):
        _fetch(apt, "usr/share/sounds/fr")
