"""Labels by hand: in a turn, or in a file beside the recording; and recordings that are labelled by their floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from turngap.caller.onset import levels_dbfs
from turngap.corpus.clips import build_corpus
from turngap.corpus.concatenation import normalise
from turngap.model.records import Clip, LabelSource, Pcm16
from turngap.scenario.model import load_scenario_file
from turngap_agent.errors import HarnessError, ScenarioError

from tests.harness.corpus.test_labels import speech
from tests.harness.corpus.test_speech_stretches import with_floor

HEAD_MS, SPEECH_MS, TAIL_MS = 500, 1500, 600


def make_noisy(tail_ms: int = TAIL_MS, floor_dbfs: float = -42.0) -> Pcm16:
    """Speech from 500 to 2000 ms in a room whose noise is over the threshold of a clean clip's label."""
    silence = [np.zeros(ms * 8, np.int16) for ms in (HEAD_MS, tail_ms)]
    return with_floor(np.concatenate([silence[0], speech(SPEECH_MS * 8, 4), silence[1]]), 9, floor_dbfs)


def write_scenario(folder: Path, turn: str, pcm: Pcm16 | None = None) -> Path:
    soundfile.write(folder / "noisy.wav", make_noisy() if pcm is None else pcm, 8000)
    path = folder / "own.scenario.yaml"
    path.write_text(f"name: own\nturns:\n  - audio: noisy.wav\n    expect: Hello there.\n{turn}", "utf-8")
    return path


def build_clip(path: Path) -> Clip:
    corpus = build_corpus(load_scenario_file(path))
    return corpus.clips["audio:noisy.wav"]


def test_speech_ms_is_the_label(tmp_path: Path) -> None:
    """Start, end and pauses are those of the turn, the end's uncertainty is 50 ms either way; head of 50 ms kept."""
    clip = build_clip(
        write_scenario(tmp_path, "    speech_ms: [480, 1990.5]\n    pauses_ms: [[900, 1200], [1300, 1400]]")
    )
    assert clip.label_source is LabelSource.HAND
    assert (clip.speech_start_sample, len(clip.pcm)) == (400, 400 + round(1510.5 * 8))
    assert (clip.label_low_ms, clip.label_high_ms) == (50.0, -50.0)
    assert clip.pauses == ((400 + 420 * 8, 400 + 720 * 8),)  # one of 100 ms is none
    assert clip.transcript == "Hello there."


def test_a_stated_uncertainty_replaces_the_default(tmp_path: Path) -> None:
    """`label_uncertainty_ms`, with the turn's own label or with a file."""
    clip = build_clip(write_scenario(tmp_path, "    speech_ms: [480, 1990]\n    label_uncertainty_ms: 12.5"))
    assert (clip.label_low_ms, clip.label_high_ms) == (12.5, -12.5)
    (tmp_path / "noisy.txt").write_text("0.5\t2.0\tspeech\n")
    clip = build_clip(write_scenario(tmp_path, "    label_uncertainty_ms: 20"))
    assert (clip.label_low_ms, clip.label_source) == (20.0, LabelSource.HAND)


def test_the_file_beside_the_recording_is_the_label(tmp_path: Path) -> None:
    """All of its stretches: the first starts the speech, the last ends it, 200 ms and more between two are a pause."""
    (tmp_path / "noisy.txt").write_text("1.45\t2.002\tspeech\n0.5\t0.9\tspeech\n1.0\t1.2\tspeech\n")
    clip = build_clip(write_scenario(tmp_path, ""))
    assert len(clip.pcm) - clip.speech_start_sample == 1502 * 8
    assert clip.pauses == ((400 + 700 * 8, 400 + 950 * 8),)
    own = build_clip(write_scenario(tmp_path, "    speech_ms: [500, 1900]"))
    assert len(own.pcm) - own.speech_start_sample == 1400 * 8, "the turn's own label comes before the file's"


def test_a_transcript_beside_the_recording_is_no_label(tmp_path: Path) -> None:
    """A `.txt` of words is left alone: the label is by the floor."""
    (tmp_path / "noisy.txt").write_text("Hello there, 3 of us.\n2 lines.\n")
    assert build_clip(write_scenario(tmp_path, "")).label_source is LabelSource.FLOOR


def test_noise_over_the_threshold_is_labelled_relative_to_the_floor(tmp_path: Path) -> None:
    """The clean label would end with the file; this one with the speech, and it says how sure it is."""
    clip = build_clip(write_scenario(tmp_path, ""))
    assert clip.label_source is LabelSource.FLOOR
    assert abs(len(clip.pcm) - clip.speech_start_sample - SPEECH_MS * 8) / 8 <= 110  # the rhythm's valley at its edges
    assert 20 <= clip.label_low_ms <= 60
    assert -60 <= clip.label_high_ms <= -20


def test_a_recording_that_ends_with_the_speech_in_noise_is_left_out(tmp_path: Path) -> None:
    """The floor after it is not known: "not sure", with what to do."""
    with pytest.raises(HarnessError, match=r"not sure.*label it by hand"):
        build_clip(write_scenario(tmp_path, "", make_noisy(tail_ms=40)))


@pytest.mark.parametrize(
    ("turn", "line", "fact"),
    [
        ("    speech_ms: [1990, 480]", 5, "its end, 480, must be after its start, 1990"),
        ("    speech_ms: [480]", 5, "speech_ms"),
        ("    speech_ms: [-3, 480]", 5, "speech_ms"),
        ("    speech_ms: [.nan, 480]", 5, "speech_ms"),
        ("    pauses_ms: [[900, 1200]]", 5, "needs `speech_ms`"),
        ("    speech_ms: [480, 1990]\n    pauses_ms: [[1200, 900]]", 6, "its end, 900, must be after its start, 1200"),
        ("    speech_ms: [480, 1990]\n    pauses_ms: [[400, 900]]", 6, "inside the speech, 480 to 1990 ms"),
        ("    speech_ms: [480, 1990]\n    pauses_ms: [[900, 1990]]", 6, "inside the speech, 480 to 1990 ms"),
        ("    speech_ms: [480, 1990]\n    pauses_ms:\n      - [900, 1200]\n      - [1100, 1300]", 8, "at 1200 ms"),
        ("    label_uncertainty_ms: -1", 5, "label_uncertainty_ms"),
        ("    speech_ms: [480, 2700]", 5, "the recording is 2,600 ms long"),
    ],
)
def test_an_impossible_label_is_one_line_with_its_place(tmp_path: Path, turn: str, line: int, fact: str) -> None:
    """File and line of the key, and what is wrong."""
    path = write_scenario(tmp_path, turn)
    with pytest.raises(ScenarioError) as raised:
        build_corpus(load_scenario_file(path))
    message = str(raised.value)
    assert message.startswith(f"{path}:{line}: ")
    assert fact in message
    assert "\n" not in message


@pytest.mark.parametrize("key", ["speech_ms: [0, 100]", "pauses_ms: [[1, 2]]", "label_uncertainty_ms: 5"])
def test_only_a_recording_has_a_label_by_hand(tmp_path: Path, key: str) -> None:
    """Prompts and the synthetic voice have theirs."""
    path = tmp_path / "x.scenario.yaml"
    path.write_text(f"name: x\nturns:\n  - say: Hello.\n    {key}\n")
    with pytest.raises(ScenarioError, match=r"x\.scenario\.yaml:4: .*this turn has no `audio`"):
        load_scenario_file(path)


@pytest.mark.parametrize(
    ("labels", "facts"),
    [
        ("0.5\t2.9\tspeech\n", ("noisy.txt ends the speech at 2,900 ms", "2,600 ms long")),
        ("0.5\t2.0\tspeech\n2.0 2.1\n", ("noisy.txt:2: ",)),
        ("0.5\t2.0\tnoise\n", ("noisy.txt: it labels no speech",)),
    ],
)
def test_a_label_file_that_cannot_be_is_one_line(tmp_path: Path, labels: str, facts: tuple[str, ...]) -> None:
    """The scenario's file and line, then the label file's."""
    (tmp_path / "noisy.txt").write_text(labels)
    path = write_scenario(tmp_path, "")
    with pytest.raises(ScenarioError) as raised:
        build_corpus(load_scenario_file(path))
    message = str(raised.value)
    assert message.startswith(f"{path}:3: ")
    assert all(fact in message for fact in facts)
    assert "\n" not in message


def test_a_file_of_two_speakers_is_refused(tmp_path: Path) -> None:
    """A turn is one caller's."""
    from turngap.annotations import Annotations, Stretch
    from turngap.corpus.hand_labels import to_hand_label

    both = Annotations((Stretch(0, 900, speaker="A"), Stretch(1000, 1500, speaker="B")))
    with pytest.raises(ScenarioError, match="it labels 2 speakers"):
        to_hand_label(both, "x.rttm")


@pytest.mark.parametrize("samples", [1, 40, 79])
def test_the_floor_of_a_recording_of_any_length_goes_on_behind_it(tmp_path: Path, samples: int) -> None:
    """The clip's bed has the level of the noise after the speech, also where the last 10 ms frame is incomplete."""
    pcm = np.concatenate([make_noisy(), make_noisy()[:samples]])
    clip = build_clip(write_scenario(tmp_path, "    speech_ms: [500, 2000]", pcm))
    assert clip.bed is not None
    assert len(clip.bed) >= len(clip.pcm)
    gain_db = levels_dbfs(normalise(pcm)).max() - levels_dbfs(pcm).max()
    assert np.median(levels_dbfs(clip.bed)) - gain_db == pytest.approx(-42, abs=2)


@pytest.mark.parametrize(("tail_ms", "usable"), [(0, False), (90, False), (110, True)])
def test_sound_to_the_end_of_the_file_is_no_end_of_speech(tmp_path: Path, tail_ms: int, usable: bool) -> None:
    """What the recording cuts has no known end, unless a person says so; 100 ms without sound after it make one."""
    pcm = np.concatenate([np.zeros(1200, np.int16), speech(8000, 4), np.zeros(tail_ms * 8, np.int16)])
    path = write_scenario(tmp_path, "", pcm)
    if usable:
        clip = build_clip(path)
        assert clip.label_source is LabelSource.THRESHOLD
        assert abs(len(clip.pcm) - clip.speech_start_sample - 8000) <= 40
    else:
        with pytest.raises(HarnessError, match=r"sound in the last 100 ms of the file.*label it by hand"):
            build_clip(path)
    clip = build_clip(write_scenario(tmp_path, "    speech_ms: [150, 1150]", pcm))
    assert (len(clip.pcm) - clip.speech_start_sample, clip.label_source) == (8000, LabelSource.HAND)
