"""Archives of corpora: unpacked once, and refused where they could harm."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
from turngap.corpora import archive
from turngap.corpora.opening import open_corpus
from turngap_agent.errors import UsageError

from tests.harness.corpora.small_corpus import write_corpus


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["small.zip", "small.tar.gz"])
def test_an_archive_is_a_corpus(tmp_path: Path, name: str) -> None:
    """With its files at the top or in one folder; it is unpacked once."""
    write_corpus(tmp_path / "in" / "talks")
    path = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "w") as packed:
            for file in (tmp_path / "in" / "talks").iterdir():
                packed.write(file, file.name)
    else:
        with tarfile.open(path, "w:gz") as packed_tar:
            packed_tar.add(tmp_path / "in" / "talks", "talks")
    table = open_corpus(name, tmp_path)
    assert (table.name, len(table.rows)) == ("small", 3)
    assert table.locate(table.rows[0]).is_file()
    written = table.path.stat().st_mtime_ns
    assert open_corpus(str(path)).path.stat().st_mtime_ns == written


def write_zip(path: Path, name: str, content: bytes = b"x", mode: int = 0) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(info, content, zipfile.ZIP_DEFLATED)


def write_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
    with tarfile.open(path, "w") as packed:
        packed.addfile(member, io.BytesIO(b"x"))


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt", "c:/out.txt"])
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_no_entry_leaves_the_folder(tmp_path: Path, name: str, suffix: str) -> None:
    """Nothing is written, neither there nor in the cache."""
    path = tmp_path / f"evil{suffix}"
    (write_zip if suffix == ".zip" else write_tar)(path, name)
    with pytest.raises(UsageError, match="leads out of the archive's folder") as caught:
        archive.unpack(path, tmp_path / "cache")
    assert caught.value.code == "usage.corpus.archive"
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file != path]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    """A link in a zip, links and a device in a tar."""
    cases = [tmp_path / f"{number}" for number in range(4)]
    write_zip(cases[0].with_suffix(".zip"), "a", b"/etc/passwd", 0o120777)
    for path, kind in zip(cases[1:], (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE), strict=True):
        write_tar(path.with_suffix(".tar"), "a", kind, "/etc/passwd")
    for path in (*tmp_path.glob("*.zip"), *tmp_path.glob("*.tar")):
        with pytest.raises(UsageError, match="'a' is a link or device"):
            archive.unpack(path, tmp_path / "cache")


def test_a_bomb_stops_at_its_allowance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unpacked is counted, not what the archive claims."""
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    write_zip(tmp_path / "bomb.zip", "a", bytes(10**6))
    with pytest.raises(UsageError, match="it unpacks to more than"):
        archive.unpack(tmp_path / "bomb.zip", tmp_path / "cache")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


@pytest.mark.parametrize(("name", "content"), [("a.zip", b"PK junk"), ("a.tar.gz", b"\x1f\x8bjunk"), ("b.tar", b"")])
def test_what_is_no_archive_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """One line with the reason."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be unpacked|there are no files in it"):
        archive.unpack(tmp_path / name, tmp_path / "cache")


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    """A flipped byte fails its checksum."""
    path = tmp_path / "a.zip"
    write_zip(path, "a", b"some bytes " * 50)
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UsageError, match="cannot be unpacked"):
        archive.unpack(path, tmp_path / "cache")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_damaged_compressed_tar_is_named(tmp_path: Path, kind: str) -> None:
    """The archive is to blame, and not the disk."""
    path = tmp_path / f"a.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as packed:  # type: ignore[call-overload]  # one of its modes
        for number in range(3):
            member = tarfile.TarInfo(f"{number}.wav")
            content = random.Random(number).randbytes(100_000)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(UsageError, match="cannot be unpacked") as caught:
        archive.unpack(path, tmp_path / "cache")
    assert caught.value.code == "usage.corpus.archive"
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_two_that_unpack_the_same_archive_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is later finds the folder in place, and takes it."""
    path = tmp_path / "a.zip"
    write_zip(path, "a/b.txt")
    write_entries = archive._write_entries

    def write_after_another(packed: Path, folder: Path) -> None:
        monkeypatch.setattr(archive, "_write_entries", write_entries)
        archive.unpack(packed, tmp_path / "cache")
        write_entries(packed, folder)

    monkeypatch.setattr(archive, "_write_entries", write_after_another)
    assert (archive.unpack(path, tmp_path / "cache") / "b.txt").read_bytes() == b"x"
    assert len(list((tmp_path / "cache" / "archives").iterdir())) == 1


def test_an_unknown_corpus_is_named(tmp_path: Path) -> None:
    """With the pinned ones, and how a path is given; so are a folder of that name, and a file that is none."""
    (tmp_path / "calls").mkdir()
    (tmp_path / "call.wav").write_bytes(b"")
    with pytest.raises(UsageError, match=r"there is a folder: give it as \./calls"):
        open_corpus("calls", tmp_path)
    with pytest.raises(UsageError, match=r"call\.wav: no corpus"):
        open_corpus("./call.wav", tmp_path)
    with pytest.raises(UsageError, match=r"no corpus 'ami-es2004b' is pinned; did you mean 'ami-es2004a'"):
        open_corpus("ami-es2004b")
    with pytest.raises(UsageError, match=r"`turngap corpus pull eot-bench-en` fetches it .162 MB, CC-BY-4.0."):
        open_corpus("eot-bench-en")
    with pytest.raises(UsageError, match="there is no such folder"):
        open_corpus("./nothing")
