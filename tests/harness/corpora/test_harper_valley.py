"""HarperValleyBank: the callers' turns of calls, as the transcripts of both sides have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from turngap.corpora.harper_valley import convert_harper_valley
from turngap.corpora.pins import RemoteFile, load_pins
from turngap.corpora.reading import format_table, parse_table
from turngap_agent.errors import WeightsError

PIN = load_pins()["harper-valley"]


def segment(role: str, start_ms: int, words: str, heard: str | None = None, late_ms: int = 0) -> dict[str, Any]:
    """A segment of words that last 200 ms each; `late_ms`: how much later its side's recording began than the call."""
    count = len((heard or words).split())
    return {
        "speaker_role": role,
        "channel_index": 1 if role == "caller" else 2,
        "start_ms": start_ms,
        "offset_ms": start_ms + late_ms,
        "duration_ms": 200 * count,
        "human_transcript": words,
        "transcript": heard or words,
        "word_offsets_ms": [200 * at for at in range(count)],
        "word_durations_ms": [200] * count,
    }


def write_call(folder: Path, segments: Any, seconds: float = 30) -> list[Path]:
    folder.mkdir()
    soundfile.write(folder / "c1.wav", np.zeros(round(8000 * seconds), np.int16), 8000)
    (folder / "c1.transcript.json").write_text(json.dumps(segments), "utf-8")
    (folder / "c1.metadata.json").write_text(json.dumps({"caller": {"speaker_id": 44}}), "utf-8")
    return sorted(folder.iterdir())


def test_a_turn_ends_where_the_agent_speaks(tmp_path: Path) -> None:
    """By the times in the call, as the sides' recordings begin at different moments; marks are no words."""
    segments = [
        segment("caller", 7000, "my debit card"),
        segment("agent", 1000, "how can i help you", late_ms=2000),
        segment("caller", 3000, "hi"),
        segment("caller", 3900, "i lost my [noise] card", heard="i lost the card"),
        segment("caller", 5500, "[noise]"),
        segment("agent", 6000, "which card", late_ms=2000),
        segment("caller", 9500, "that is all"),
    ]
    (tmp_path / "out").mkdir()
    rows = convert_harper_valley(PIN, write_call(tmp_path / "call", segments), tmp_path / "out")
    assert [(row.id, row.start_ms, row.end_ms, row.transcript, row.question) for row in rows] == [
        ("c1-01", 3000, 4700, "hi i lost my card", "how can i help you"),
        ("c1-02", 7000, 7600, "my debit card", "which card"),
        ("c1-03", 9500, 10100, "that is all", ""),
    ]
    assert (rows[0].words, rows[0].pauses) == ((), ((3200.0, 3900.0),))
    assert [word.start_ms for word in rows[1].words] == [7000, 7200, 7400]
    assert {(row.speaker, row.label_source, row.uncertainty_ms) for row in rows} == {("caller 44", "aligned", 100.0)}
    assert (tmp_path / "out" / "c1.wav").is_file()
    assert len(parse_table(format_table(rows), "t", ".jsonl")) == 3


def test_what_lies_after_the_recording_is_left_out(tmp_path: Path) -> None:
    """A turn that the audio does not hold."""
    segments = [segment("caller", 500, "yes"), segment("agent", 900, "no"), segment("caller", 1500, "maybe then")]
    (tmp_path / "out").mkdir()
    rows = convert_harper_valley(PIN, write_call(tmp_path / "call", segments, 1.6), tmp_path / "out")
    assert [row.transcript for row in rows] == ["yes"]


@pytest.mark.parametrize("segments", [{"a": 1}, ["x"], [{"speaker_role": "caller"}], 7])
def test_transcripts_of_another_form_are_named(tmp_path: Path, segments: Any) -> None:
    """One line."""
    (tmp_path / "out").mkdir()
    with pytest.raises(WeightsError, match="corpus 'harper-valley': its files are not as expected"):
        convert_harper_valley(PIN, write_call(tmp_path / "call", segments), tmp_path / "out")


def test_each_call_has_three_files_at_one_commit() -> None:
    """Audio, transcript and metadata; the addresses are those of one commit."""
    assert len(PIN.files) == 72
    urls = [file.url for file in PIN.files if isinstance(file, RemoteFile)]
    assert len(set(urls)) == 72
    assert {url.split("/")[5] for url in urls} == {"0bd721e877c4a85d8c13ff837e68661ea6200a98"}
    assert PIN.size is None
