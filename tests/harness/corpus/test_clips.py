"""The corpus: levels, labels, joins, transcripts, refusals, and what happens when prompts are not available."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.onset import levels_dbfs
from turngap.corpus import audio_sources
from turngap.corpus import clips as corpus
from turngap.corpus.audio_sources import SourceAudio, read_audio, run_agent_command
from turngap.corpus.clips import build_corpus, clean_transcript, make_clip
from turngap.corpus.concatenation import ACTIVE_DBFS, normalise
from turngap.corpus.labels import label_speech
from turngap.model.records import Clip, Pcm16
from turngap.scenario import Scenario, load_scenario_file
from turngap_agent.errors import EngineError, HarnessError, ScenarioError, TurngapError, WeightsError


def voice(ms: int = 600, amplitude: int = 9000, tail_ms: int = 150, fade: bool = False) -> Pcm16:
    """A burst with a syllable's rhythm and silence around it."""
    n = ms * 8
    body = np.sin(np.arange(n) / 3) * (0.6 + 0.4 * np.sin(np.arange(n) / 300)) * amplitude
    if fade:
        body *= 10 ** (-np.arange(n) / 3000)
    return np.concatenate([np.zeros(900), body, np.zeros(tail_ms * 8)]).astype(np.int16)


def utterance(pcm: Pcm16, transcript: str | None = "some words") -> SourceAudio:
    return SourceAudio(pcm, transcript, "test", synthetic=False)


def scenario(*turns: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"name": "test", "turns": turns})


@pytest.fixture
def prompt_folder(tmp_path: Path) -> Path:
    """A folder laid out as the recorded prompts are."""
    folder = tmp_path / "prompts"
    (folder / "wav/digits").mkdir(parents=True)
    for name, pcm in {
        "hello": voice(),
        "digits/1": voice(300),
        "digits/2": voice(350),
        "fading": voice(1500, fade=True),
        "silence": np.zeros(8000, np.int16),
    }.items():
        soundfile.write(folder / "wav" / f"{name}.wav", pcm, 8000)
    (folder / "transcripts.txt").write_text(
        "; Prompts\n\nhello: Hello there [softly]\ndigits/1: one\ndigits/2: ... two\nfading: Fading.\nsilence: Shh.\n"
    )
    return folder


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, prompt_folder: Path, tmp_path: Path) -> list[list[str]]:
    """A stand-in for the pipeline's command: prompts from the folder, a burst for a voice. Returns its commands."""
    commands: list[list[str]] = []

    def answer(arguments: Sequence[str], error: type[TurngapError], report: Callable[[str], None]) -> str:
        commands.append(list(arguments))
        if arguments[0] == "weights":
            if not prompt_folder.is_dir():
                raise WeightsError("asterisk-prompts: apt-get is not here")
            return json.dumps({"name": arguments[2], "path": str(prompt_folder)})
        soundfile.write(arguments[arguments.index("--out") + 1], voice(len(arguments[-1]) * 40), 24_000)
        return ""

    monkeypatch.setattr(audio_sources, "run_agent_command", answer)
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))
    return commands


def test_a_prompt_becomes_a_clip(pipeline: list[list[str]]) -> None:
    """Levelled, cut at the end of speech, with the transcript that is spoken."""
    made = build_corpus(scenario({"prompt": "hello"}))
    clip = made.clips["hello"]
    assert clip.transcript == "Hello there"
    assert not clip.synthetic
    assert "CC-BY-SA-3.0" in clip.source
    label = label_speech(clip.pcm)
    assert label is not None
    assert label.end_sample == len(clip.pcm)
    assert label.start_sample == clip.speech_start_sample == 400
    assert made.notes == ()


def test_joined_prompts_are_one_utterance_with_a_short_gap(pipeline: list[list[str]]) -> None:
    """Both are in it, 120-160 ms apart, never digital silence between; transcripts are joined."""
    clip = build_corpus(scenario({"prompt": ["digits/1", "digits/2"]})).clips["digits/1+digits/2"]
    assert clip.transcript == "one two"
    loud = np.flatnonzero(levels_dbfs(clip.pcm) > -50)
    assert 110 <= (np.diff(loud).max() - 1) * 10 <= 160
    assert levels_dbfs(clip.pcm[clip.speech_start_sample :]).min() > -70
    assert abs(len(clip.pcm) / 8 - (50 + 300 + 140 + 350)) < 40


def test_expect_replaces_the_transcript(pipeline: list[list[str]]) -> None:
    """What the scenario expects counts, for a prompt and for a recording."""
    assert build_corpus(scenario({"prompt": "hello", "expect": "hello"})).clips["hello"].transcript == "hello"


def test_a_clip_without_a_firm_end_is_left_out_with_a_note(pipeline: list[list[str]]) -> None:
    """It is left out of the clips and of the scenario that is run, and this is reported."""
    made = build_corpus(scenario({"prompt": "fading"}, {"prompt": "hello"}))
    assert list(made.clips) == ["hello"]
    assert [turn.key for turn in made.scenario.turns] == ["hello"]
    (note,) = made.notes
    assert "'fading' is left out" in note
    with pytest.raises(HarnessError, match="no clip has a firm end"):
        build_corpus(scenario({"prompt": "fading"}))


def test_a_synthetic_voice_that_fades_is_cut_and_firm() -> None:
    """Its tail is noise: it ends where the raised threshold has it end, not later."""
    fading = SourceAudio(voice(1500, fade=True), "Fading.", "test", synthetic=True)
    human = label_speech(normalise(fading.pcm))
    clip = make_clip("fading", [fading])
    assert isinstance(clip, Clip)
    assert human is not None
    assert not human.is_firm
    label = label_speech(clip.pcm)
    assert label is not None
    assert label.is_firm
    assert label.end_sample == len(clip.pcm)
    assert len(clip.pcm) < human.end_sample


@pytest.mark.parametrize(
    ("turn", "code", "line", "facts"),
    [
        ("  prompt: helo", "scenario.prompt", 4, ("'helo'", "did you mean 'hello'?")),
        ("  prompt:\n  - hello\n  - digits/3", "scenario.prompt", 6, ("'digits/3'", "did you mean 'digits/")),
        ("  prompt: silence", "scenario.no-speech", 4, ("no speech",)),
        ("  prompt: [hello, silence]", "scenario.no-speech", 4, ("no speech",)),
        ("  audio: text.wav", "scenario.audio", 4, ("text.wav", "ffmpeg -i")),
    ],
)
def test_a_turn_without_usable_audio_is_named_with_its_line(
    pipeline: list[list[str]], tmp_path: Path, turn: str, code: str, line: int, facts: tuple[str, ...]
) -> None:
    """One line with the file, the line of the turn's voice, the turn, what is wrong, and the nearest name."""
    (tmp_path / "text.wav").write_text("no sound")
    path = tmp_path / "x.scenario.yaml"
    path.write_text(f"name: x\nturns:\n- id: one\n{turn}\n")
    with pytest.raises(ScenarioError) as caught:
        build_corpus(load_scenario_file(path))
    message = str(caught.value)
    assert caught.value.code == code
    assert message.startswith(f"{path}:{line}: turn 'one': ")
    assert "\n" not in message
    for fact in facts:
        assert fact in message


def test_every_unknown_prompt_has_a_line(pipeline: list[list[str]]) -> None:
    """All at once; a scenario that was not read from a file is named instead."""
    with pytest.raises(ScenarioError) as caught:
        build_corpus(scenario({"prompt": "helo"}, {"prompt": "hello"}, {"prompt": ["digits/1", "digts/2"]}))
    first, second = str(caught.value).splitlines()
    assert first.startswith("scenario 'test', turn 'helo': ")
    assert "did you mean 'digits/2'?" in second


def test_a_caller_who_stops_before_the_limit_is_refused(
    pipeline: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No agent could be right about it; one who talks for longer is taken."""
    turn = {"id": "endless", "say": "On and on.", "agent": "limit", "limit_after_ms": 1000}
    monkeypatch.setattr(audio_sources, "synthesise", lambda *_: utterance(voice(900)))
    with pytest.raises(ScenarioError, match="turn 'endless': `agent: limit` needs a caller who talks for longer than"):
        build_corpus(scenario(turn))
    monkeypatch.setattr(audio_sources, "synthesise", lambda *_: utterance(voice(1200)))
    assert list(build_corpus(scenario(turn)).clips) == ["endless"]


def test_without_prompts_the_synthetic_voice_speaks(pipeline: list[list[str]], prompt_folder: Path) -> None:
    """It says what is expected, the clips say that they are synthetic, a note says why."""
    shutil.rmtree(prompt_folder)
    made = build_corpus(scenario({"prompt": "hello", "expect": "Hello there"}))
    assert made.clips["hello"].synthetic
    assert made.clips["hello"].transcript == "Hello there"
    assert pipeline[-1][0] == "say"
    assert pipeline[-1][-1] == "Hello there"
    assert made.notes == (
        "the synthetic voice speaks for 1 recorded prompts, which are not available: "
        "asterisk-prompts: apt-get is not here",
    )
    with pytest.raises(ScenarioError, match="has no `expect:`"):
        build_corpus(scenario({"prompt": "hello"}))


def test_gaps_are_pauses_of_the_clip(pipeline: list[list[str]]) -> None:
    """As the scenario asks for them; where one synthetic voice speaks for all parts there are none."""
    clip = build_corpus(scenario({"prompt": ["digits/1", "digits/2"], "gaps_ms": 700})).clips["digits/1+digits/2"]
    ((start, end),) = clip.pauses
    assert end - start == 700 * 8
    assert levels_dbfs(clip.pcm[start:end]).max() < -55


def test_a_noisy_twin_says_the_same_as_the_clean_one(pipeline: list[list[str]]) -> None:
    """The same joins under the noise, the same words, the same length; made the same every time."""
    pair = scenario(
        {"prompt": ["digits/1", "digits/2"]},
        {
            "prompt": ["digits/1", "digits/2"],
            "noise": {"kind": "babble", "snr_db": 10},
            "twin": "digits/1+digits/2",
        },
    )
    clean, noisy = build_corpus(pair).clips.values()
    assert noisy.bed is not None
    speech = noisy.pcm.astype(float) - noisy.bed[: len(noisy.pcm)]
    gain = np.abs(speech).max() / np.abs(clean.pcm.astype(float)).max()
    assert np.abs(speech - clean.pcm * gain).max() < 3
    assert (noisy.transcript, noisy.label_high_ms) == (clean.transcript, clean.label_high_ms)
    assert np.array_equal(list(build_corpus(pair).clips.values())[1].pcm, noisy.pcm)


def test_babble_can_be_made_without_prompts(pipeline: list[list[str]], prompt_folder: Path) -> None:
    """The synthetic voice says other sentences; nothing of the turn itself is replaced, and no note is needed."""
    shutil.rmtree(prompt_folder)
    made = build_corpus(scenario({"silence_ms": 3000, "agent": "wait", "noise": {"kind": "babble", "snr_db": 5}}))
    (clip,) = made.clips.values()
    assert clip.bed is not None
    assert len([command for command in pipeline if command[0] == "say"]) == 6
    assert made.notes == ()


def test_non_speech_is_a_clip(pipeline: list[list[str]]) -> None:
    """Silence, keys both ways, a cough and a hum, without words; nothing is fetched for them."""
    made = build_corpus(
        scenario(
            {"silence_ms": 500, "agent": "wait"},
            {"dtmf": "12", "agent": "wait"},
            {"dtmf": "12", "dtmf_as": "tone", "agent": "wait", "id": "tones"},
            {"sound": "cough", "agent": "wait"},
            {"sound": "mm-hm", "agent": "wait"},
        )
    )
    assert [clip.transcript for clip in made.clips.values()] == [None] * 5
    assert [len(clip.keys) for clip in made.clips.values()] == [0, 2, 0, 0, 0]
    assert pipeline == []


def test_a_call_does_not_lose_a_turn(pipeline: list[list[str]]) -> None:
    """Where calls are kept whole a clip that is not firm is refused: the next turn may speak over its reply."""
    turns: list[dict[str, Any]] = [{"prompt": "hello"}, {"prompt": "fading"}]
    kept = Scenario.model_validate({"name": "t", "turns_per_call": 2, "shuffle": "calls", "turns": turns})
    with pytest.raises(ScenarioError, match=r"'fading': its end of speech moves.*replace it"):
        build_corpus(kept)


def test_synthesised_words_are_spoken_once_and_cached(pipeline: list[list[str]]) -> None:
    """The second time, no engine runs."""
    one = build_corpus(scenario({"say": "Good morning"})).clips["say:Good morning"]
    two = build_corpus(scenario({"say": "Good morning"})).clips["say:Good morning"]
    assert len(pipeline) == 1
    assert np.array_equal(one.pcm, two.pcm)
    assert one.synthetic
    assert one.transcript == "Good morning"


@pytest.mark.parametrize(("suffix", "rate", "channels"), [("wav", 44_100, 2), ("flac", 16_000, 1), ("wav", 8000, 2)])
def test_recordings_are_mixed_and_resampled(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    """A tone keeps its length, pitch and level at 8 kHz mono, whatever it came as."""
    seconds = np.arange(rate) / rate
    tone = 0.25 * np.sin(2 * np.pi * 440 * seconds)
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate)
    pcm = read_audio(path)
    assert pcm.shape == (8000,)
    assert abs(int(np.abs(np.fft.rfft(pcm)).argmax()) - 440) <= 1
    assert abs(int(np.abs(pcm[1000:7000]).max()) - 8192) < 120


def test_a_recording_is_a_clip(tmp_path: Path) -> None:
    """Its words are what is expected, or unknown."""
    soundfile.write(tmp_path / "mine.wav", voice(), 8000)
    made = build_corpus(scenario({"audio": str(tmp_path / "mine.wav"), "id": "mine"}))
    assert made.clips["mine"].transcript is None
    assert made.clips["mine"].source == "recording mine.wav"


@given(st.integers(500, 32_000), st.integers(200, 900))
def test_levelling_reaches_the_level_and_never_clips(amplitude: int, ms: int) -> None:
    """-20 dBFS over the active frames, whatever the level before; peaks under -1 dBFS."""
    levelled = normalise(voice(ms, amplitude))
    levels = levels_dbfs(levelled)
    active = levels[levels >= np.percentile(levels, 95) - 35]
    assert abs(10 * np.log10(np.mean(10 ** (active / 10))) - ACTIVE_DBFS) < 0.1
    assert np.abs(levelled.astype(int)).max() <= 29_205


def test_peaks_hold_the_level_down() -> None:
    """Speech with a sharp peak stays under -20 dBFS rather than be clipped."""
    pcm = voice(600, 2000)
    pcm[3000] = 32_000
    assert 29_000 < np.abs(normalise(pcm).astype(int)).max() <= 29_205


def test_noise_is_not_made_into_a_voice() -> None:
    """Digital silence stays, and a faint hiss is raised by 30 dB at most: it holds no speech then either."""
    assert not normalise(np.zeros(800, np.int16)).any()
    hiss = make_comfort_noise(8000, 1, level_dbfs=-88)
    assert label_speech(normalise(hiss)) is None


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("at [@]", "at"),
        ("... letters of your name.", "letters of your name."),
        ("leave a message.  When done (simple tone) hang up", "leave a message. When done hang up"),
        ("<beep>", ""),
    ],
)
def test_transcripts_hold_only_what_is_spoken(text: str, spoken: str) -> None:
    """Remarks in brackets and ellipses go."""
    assert clean_transcript(text) == spoken


def test_the_same_clip_every_time() -> None:
    """Joins are seeded by the clip's id."""
    one, two = (make_clip("a", [utterance(voice(300)), utterance(voice(200))]) for _ in range(2))
    assert isinstance(one, Clip)
    assert isinstance(two, Clip)
    assert np.array_equal(one.pcm, two.pcm)


def test_a_failed_command_has_its_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's error line becomes the message, its other lines are progress."""
    script = "import sys; print('turngap: fetching', file=sys.stderr); sys.exit('turngap: error: no network here')"
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", script], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    lines: list[str] = []
    with pytest.raises(EngineError, match=r"^no network here$"):
        run_agent_command(["say"], EngineError, lines.append)
    assert lines == ["fetching"]


@pytest.mark.engines
def test_real_prompts_are_fetched_and_firm() -> None:
    """Debian's prompts through the real command: labelled, levelled, with their words, from a human."""
    made = corpus.build_corpus(scenario({"prompt": "please-try-call-later"}, {"prompt": ["digits/day-1", "digits/9"]}))
    clip = made.clips["please-try-call-later"]
    assert clip.transcript == "Please try your call again later."
    assert not clip.synthetic
    assert 1.5 < len(clip.pcm) / 8000 < 2.5
    assert made.clips["digits/day-1+digits/9"].transcript == "Monday nine"
