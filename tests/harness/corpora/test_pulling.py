"""Pinned corpora: fetched from a server, verified, converted; refused whole where anything is not as pinned."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from turngap.cli.app import execute
from turngap.corpora import fetching, public_formats
from turngap.corpora.conversion import TABLE
from turngap.corpora.pins import CorpusPin, HubFile, RemoteFile, load_pins
from turngap.corpora.pulling import pull_corpus
from turngap.corpora.reading import read_table
from turngap_agent.errors import UsageError, WeightsError

from tests.harness.corpora.small_corpus import GAP_MS, PAUSE_MS, SPEECH_MS, TURN_MS, make_recording
from tests.pipeline.file_server import FileServer, serve

MEETINGS = """<meetings><meeting observation="M1">
<speaker nxt_agent="B" channel="0"/><speaker nxt_agent="A" channel="1"/>
</meeting></meetings>"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with serve() as running:
        yield running


def wav(turns: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, make_recording(turns)[0], 8000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def ami_archive() -> bytes:
    words = "".join(
        f'<w starttime="{start / 1000}" endtime="{(start + SPEECH_MS) / 1000}">{text}</w>'
        for n in range(2)
        for start, text in (
            (GAP_MS + n * (TURN_MS + GAP_MS), "scripted"),
            (GAP_MS + n * (TURN_MS + GAP_MS) + SPEECH_MS + PAUSE_MS, "words"),
        )
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("corpusResources/meetings.xml", MEETINGS)
        packed.writestr("words/M1.B.words.xml", f"<root>{words}</root>")
    return buffer.getvalue()


def ami_pin(server: FileServer, **audio: object) -> CorpusPin:
    server.files = {"/ann.zip": ami_archive(), "/M1.Headset-0.wav": wav(2)}
    archive = server.files["/ann.zip"]
    return CorpusPin(
        name="small-ami",
        about="a meeting",
        licence="CC-BY-4.0",
        source="a corpus",
        homepage="https://example.org",
        converter="ami",
        files=(
            RemoteFile.model_construct(
                url=f"{server.url}/ann.zip",
                path="ann.zip",
                size=len(archive),
                sha256=hashlib.sha256(archive).hexdigest(),
            ),
            RemoteFile.model_construct(
                **{"url": f"{server.url}/M1.Headset-0.wav", "path": "M1.Headset-0.wav", "size": None, "sha256": None}
                | audio
            ),
        ),
    )


def test_a_meeting_becomes_turns(server: FileServer, tmp_path: Path) -> None:
    """With the speaker of the headset's channel, the words' times, and the pauses between them."""
    lines: list[str] = []
    pin = ami_pin(server)
    folder = pull_corpus(pin, tmp_path / "cache", lines.append)
    rows = read_table(folder / TABLE).rows
    # Both turns are one by the default gap: 900 ms between them are a pause of a speaker who holds the floor.
    assert [(row.speaker, row.start_ms, row.end_ms, row.transcript) for row in rows] == [
        ("M1.B", GAP_MS, 2 * (TURN_MS + GAP_MS), "scripted words scripted words")
    ]
    assert [end - start for start, end in rows[0].pauses] == [PAUSE_MS, GAP_MS, PAUSE_MS]
    assert (rows[0].licence, rows[0].source) == ("CC-BY-4.0", "a corpus")
    n_requests = len(server.requests)
    assert pull_corpus(pin, tmp_path / "cache", lines.append) == folder
    assert len(server.requests) == n_requests


def test_an_unpinned_hash_is_that_of_the_first_fetch(server: FileServer, tmp_path: Path) -> None:
    """It is recorded and shown, and another file is refused later."""
    lines: list[str] = []
    pin = ami_pin(server)
    folder = pull_corpus(pin, tmp_path / "cache", lines.append)
    digest = hashlib.sha256(server.files["/M1.Headset-0.wav"]).hexdigest()
    assert any(f"its SHA-256 is not pinned; {digest} is recorded" in line for line in lines)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    server.files["/M1.Headset-0.wav"] = wav(3)
    with pytest.raises(WeightsError, match="is not the file of the first fetch") as caught:
        pull_corpus(pin, tmp_path / "cache", lines.append)
    assert caught.value.code == "weights.mismatch"
    assert not folder.exists()


def test_other_bytes_than_the_pinned_are_refused(server: FileServer, tmp_path: Path) -> None:
    """By size or checksum; nothing is kept."""
    pin = ami_pin(server)
    archive = server.files["/ann.zip"]
    for damaged in (archive[:-1] + b"x", archive + b"x"):
        server.files["/ann.zip"] = damaged
        with pytest.raises(WeightsError, match="is not the pinned file"):
            pull_corpus(pin, tmp_path / "cache", print)
    assert not list((tmp_path / "cache").rglob("*.zip*"))


def test_a_broken_download_is_resumed(server: FileServer, tmp_path: Path) -> None:
    """From where it broke off."""
    pin = ami_pin(server)
    server.break_after = [100]
    assert pull_corpus(pin, tmp_path / "cache", print).is_dir()
    assert server.requested_ranges()[:2] == [None, "bytes=100-"]


def test_a_server_that_refuses_is_named(server: FileServer, tmp_path: Path) -> None:
    """One line, and no folder."""
    pin = ami_pin(server)
    server.statuses["/ann.zip"] = 404
    with pytest.raises(WeightsError, match=r"ann.zip answered HTTP 404"):
        pull_corpus(pin, tmp_path / "cache", print)
    assert not pin.locate(tmp_path / "cache").exists()


def test_files_of_another_form_are_named(server: FileServer, tmp_path: Path) -> None:
    """An archive without the meeting."""
    pin = ami_pin(server)
    server.files["/ann.zip"] = b"PK" + bytes(len(server.files["/ann.zip"]) - 2)
    unpinned = [file.model_copy(update={"sha256": None, "size": None}) for file in pin.files]
    with pytest.raises(WeightsError, match="its files are not as expected") as caught:
        pull_corpus(pin.model_copy(update={"files": tuple(unpinned)}), tmp_path / "cache", print)
    assert caught.value.code == "weights.format"
    assert not pin.locate(tmp_path / "cache").exists()


HUB = HubFile(repo="org/talk", revision="c" * 40, path="data/en.parquet", gated=True)
HUB_PATH = f"/datasets/org/talk/resolve/{'c' * 40}/data/en.parquet"


def test_the_token_goes_to_the_hub_alone(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to where the hub redirects, and into no line that is printed."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve() as store:
        store.files["/blob"] = b"rows"
        server.redirects[HUB_PATH] = f"{store.url}/blob"
        lines: list[str] = []
        path = fetching.fetch_file(HUB, tmp_path, tmp_path / "hashes.json", lines.append)
        assert path.read_bytes() == b"rows"
        assert server.requests[0][1]["authorization"] == "Bearer hf_secret"
        assert "authorization" not in store.requests[0][1]
    assert not any("hf_secret" in line for line in lines)


@pytest.mark.parametrize(
    ("token", "message"), [("", "needs a login: accept its terms at"), ("hf_x", "refuses this token")]
)
def test_a_gated_dataset_says_what_to_do(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, message: str
) -> None:
    """Without a token, and with one that is refused; the token is in no message."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", token)
    server.statuses[HUB_PATH] = 401
    with pytest.raises(WeightsError, match=message) as caught:
        fetching.fetch_file(HUB, tmp_path, tmp_path / "hashes.json", print)
    assert "hf_x" not in str(caught.value)


def test_a_row_of_eot_bench_is_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last span starts where the turn ends; the agent's last message is the question."""
    pin = load_pins()["eot-bench-en"]
    row = {
        "id": "en/7",
        "audio": {"bytes": wav(1), "path": None},
        "silence_spans": [{"start": 1.4, "end": 1.7}, {"start": 2.2, "end": 3.1}],
        "words": [{"word": " scripted", "start": 0.9, "end": 1.4}, {"word": "words", "start": 1.7, "end": 2.2}],
        "messages": [{"role": "assistant", "content": "Your number?"}, {"role": "user", "content": "x"}],
    }
    monkeypatch.setattr(public_formats, "_read_parquet", lambda path: iter([row]))
    (only,) = public_formats.convert_hub(pin, [tmp_path / "x.parquet"], tmp_path)
    assert (only.id, only.file, only.start_ms, only.end_ms) == ("en/7", "en-7.flac", 900.0, 2200.0)
    assert (only.pauses_ms, only.transcript, only.question) == (((1400.0, 1700.0),), "scripted words", "Your number?")
    samples, rate = soundfile.read(tmp_path / "en-7.flac")
    assert rate == 8000
    assert np.allclose(samples, make_recording(1)[0], atol=1e-4)
    del row["silence_spans"]
    (by_words,) = public_formats.convert_hub(pin, [tmp_path / "x.parquet"], tmp_path)
    assert (by_words.end_ms, by_words.pauses) == (2200.0, ((1400.0, 1700.0),))
    del row["words"]
    with pytest.raises(WeightsError, match="no column says where a turn ends"):
        public_formats.convert_hub(pin, [tmp_path / "x.parquet"], tmp_path)


def test_a_data_set_is_given_by_its_commit(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any with a column of audio; its folder is printed, and is a corpus."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("turngap.corpora.pulling.importlib.util.find_spec", lambda name: object())
    server.files[HUB_PATH] = b"PAR1"
    sound = {"bytes": wav(1), "path": None}
    row = {"clip": sound, "text": "scripted words", "speaker": 7, "start": 0.9, "end": 2.2}
    monkeypatch.setattr(public_formats, "_read_parquet", lambda path: iter([row]))
    assert execute(["corpus", "pull", f"org/talk@{'c' * 40}:data/en.parquet", "--licence", "CC0-1.0"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    (only,) = read_table(folder / TABLE).rows
    assert (only.id, only.start_ms, only.end_ms, only.transcript, only.speaker) == (
        "1",
        900.0,
        2200.0,
        "scripted words",
        "7",
    )
    assert (only.licence, only.source) == ("CC0-1.0", "org/talk at cccccccccccc")


def test_rows_with_like_names_keep_their_own_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that differ in signs alone, which no file's name has."""
    pin = load_pins()["eot-bench-en"]
    rows = [{"id": key, "audio": {"bytes": wav(at), "path": None}, "end": 1.0} for at, key in enumerate(["a/b", "a-b"])]
    monkeypatch.setattr(public_formats, "_read_parquet", lambda path: iter(rows))
    first, second = public_formats.convert_hub(pin, [tmp_path / "x.parquet"], tmp_path)
    assert (first.file, second.file) == ("a-b.flac", "a-b-2.flac")
    assert (tmp_path / first.file).read_bytes() != (tmp_path / second.file).read_bytes()


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"id": "a", "end": 1.0}, WeightsError, "row 1 has no column of audio"),
        ({"id": "a", "audio": {"bytes": wav(1), "path": None}, "end": -1.0}, UsageError, "end_ms"),
    ],
)
def test_rows_that_no_run_could_use_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: dict[str, object], error: type[Exception], message: str
) -> None:
    """The fault is said when it is pulled, and there is no folder."""
    pin = load_pins()["eot-bench-en"]
    monkeypatch.setattr("turngap.corpora.pulling.importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("turngap.corpora.pulling.fetch_file", lambda *_: tmp_path / "x.parquet")
    monkeypatch.setattr(public_formats, "_read_parquet", lambda path: iter([row]))
    with pytest.raises(error, match=message):
        pull_corpus(pin, tmp_path / "cache", print)
    assert not pin.locate(tmp_path / "cache").exists()


def test_real_parquet_is_read(tmp_path: Path) -> None:
    """By pyarrow, where it is installed."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not among the dependencies")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"id": "a", "audio": {"bytes": b"x", "path": "p"}, "silence_spans": [{"start": 1.0, "end": 2.0}]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert list(public_formats._read_parquet(tmp_path / "x.parquet")) == rows


def test_a_missing_package_is_named_before_anything_is_fetched(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    pin = ami_pin(server).model_copy(update={"needs": "no_such_package"})
    with pytest.raises(UsageError, match=r"needs no_such_package: pip install 'turngap\[parquet\]'"):
        pull_corpus(pin, tmp_path / "cache", print)
    assert not server.requests


def test_shipped_pins_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a licence and a homepage, web addresses are encrypted, and what is not known is null."""
    pins = load_pins()
    assert {"eot-bench-en", "ami-es2004a"} <= set(pins)
    assert all(pin.licence and pin.homepage.startswith("https://") for pin in pins.values())
    assert all(file.url.startswith("https://") for pin in pins.values() for file in pin.files if "url" in dict(file))
    assert execute(["corpus", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == list(pins)
    assert {row["name"]: row["bytes"] for row in listed}["eot-bench-en"] == 162_406_142
    assert execute(["corpus", "list"]) == 0
    assert "CC-BY-4.0" in capsys.readouterr().out
    assert execute(["corpus", "pull", "amy"]) == 3
    assert "no corpus 'amy' is pinned" in capsys.readouterr().err


def test_a_file_without_a_pinned_size_has_a_limit(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the length that the server states; and of what it sends, since it may state none."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(fetching, "LARGEST_BYTES", 1000)
    server.files[HUB_PATH] = bytes(1001)
    with pytest.raises(WeightsError, match="the most that is fetched") as caught:
        fetching.fetch_file(HUB, tmp_path, tmp_path / "hashes.json", print)
    assert caught.value.code == "weights.size"
    server.files[HUB_PATH] = bytes(1000)
    assert fetching.fetch_file(HUB, tmp_path, tmp_path / "hashes.json", print).stat().st_size == 1000


def test_hashes_of_pulls_at_the_same_time_are_all_recorded(tmp_path: Path) -> None:
    """None is lost to another that read the file before it was written."""
    names = [f"file {number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: fetching._write_hash(tmp_path / "hashes.json", name, "0" * 64), names))
    assert sorted(json.loads((tmp_path / "hashes.json").read_text("utf-8"))) == sorted(names)


def test_a_data_set_is_named_as_it_was_given(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the name of its folder in the cache."""
    monkeypatch.setattr("turngap.corpora.pulling.importlib.util.find_spec", lambda name: None)
    given = f"org/talk@{'c' * 40}:data/en.parquet"
    assert execute(["corpus", "pull", given]) == 3
    assert f"corpus '{given}' is in a format that needs pyarrow" in capsys.readouterr().err
