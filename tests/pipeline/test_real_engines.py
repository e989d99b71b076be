"""The engines of the `cpu` profile on their real models: what they hear, say and free. Loaded once for the module."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from turngap.corpus import background_noise
from turngap_agent import loading, profile, tracing, weights
from turngap_agent.call.encoding import ReplyEncoder
from turngap_agent.call.interruption import Interruption, Move
from turngap_agent.endpointing import EventKind, Voicing
from turngap_agent.endpointing.policies import SilenceEndpointer
from turngap_agent.endpointing.smart_turn.engine import SmartTurn
from turngap_agent.endpointing.smart_turn.settings import SmartTurnSettings
from turngap_agent.engines import EngineKind
from turngap_agent.errors import EngineError, WeightsError
from turngap_agent.llm import JudgesSentences, Message, Request
from turngap_agent.llm.onnx.engine import OnnxChat
from turngap_agent.llm.onnx.settings import OnnxSettings
from turngap_agent.loading import Engines
from turngap_agent.profile.sections import BargeInSettings, EndpointingSettings
from turngap_agent.resample import Downsampler, to_16k
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import make_options
from turngap_agent.stage.counting import measure_floor
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import measure_units
from turngap_agent.stage.split import split_times
from turngap_agent.stage.units import make_work
from turngap_agent.stt import AudioF32, Transcript
from turngap_agent.telephony import mulaw

pytestmark = [pytest.mark.engines, pytest.mark.xdist_group("real-engines")]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Engines]:
    engines = asyncio.run(loading.load(profile.load("cpu")))
    yield engines
    asyncio.run(engines.close())


@pytest.fixture(scope="module")
def prompts() -> Path:
    try:
        return weights.get("asterisk-prompts") / "wav"
    except WeightsError as fault:
        pytest.skip(str(fault))


def recording(prompts: Path, name: str) -> AudioF32:
    audio, rate = soundfile.read(prompts / f"{name}.wav", dtype="float32")
    assert rate == 8000
    return np.asarray(audio, np.float32)


def test_smart_turn_tells_an_end_from_a_break(prompts: Path) -> None:
    """Whole prompts and a tenth of a second of silence sound complete; cut after three quarters they mostly do not.

    Its own features, made without transformers: were they wrong, the two would not differ.
    """
    model = SmartTurn(SmartTurnSettings())
    names = ("privacy-prompt", "vm-options", "agent-loginok", "pbx-invalid", "conf-onlyperson", "demo-thanks")
    whole, broken = [], []
    for name in names:
        audio = recording(prompts, name)
        start, *_, end = np.flatnonzero(np.abs(audio) > 0.01)
        whole.append(asyncio.run(model.completeness(audio[: end + 800])))
        broken.append(asyncio.run(model.completeness(audio[: start + round(0.75 * (end - start))])))
    asyncio.run(model.close())
    assert np.median(whole) > 0.8
    assert np.median(broken) < 0.2


@pytest.mark.parametrize("seconds", [0, 0.05, 8, 30])
def test_smart_turn_takes_a_turn_of_any_length(seconds: float) -> None:
    """Of a long one the last 8 s count, exactly."""
    model = SmartTurn(SmartTurnSettings())
    audio = np.asarray(np.random.default_rng(0).normal(0, 0.1, round(8000 * seconds)), np.float32)
    completeness = asyncio.run(model.completeness(audio))
    assert 0 <= completeness <= 1
    assert completeness == pytest.approx(asyncio.run(model.completeness(audio[-64_000:])))
    asyncio.run(model.close())


def request(words: str, call: int = 0, **more: Any) -> Request:
    block = f"Call CA{call:06d}4e1b77c0, from a number that is withheld."
    return Request(**{"call_block": block, "history": (), "words": words, "max_tokens": 24, **more})


@pytest.mark.parametrize(
    ("open_words", "whole"),
    [
        ("My number is four one five", "My number is four one five two two three, that is all"),
        ("I would like to book a", "I would like to book a room for two nights."),
        ("Could you tell me when the", "Could you tell me when the restaurant opens?"),
        ("It is on the second floor and", "It is on the second floor."),
    ],
)
def test_the_language_model_tells_a_whole_sentence_from_an_open_one(
    loaded: Engines, open_words: str, whole: str
) -> None:
    """The recogniser's own full stop, which it puts after either, does not count."""
    assert isinstance(loaded.llm, JudgesSentences)
    judge = loaded.llm.end_probability

    def probability(words: str) -> float:
        return asyncio.run(judge(request(words)))

    assert probability(f"{open_words}...") < probability(whole)
    assert probability(f"{open_words}.") == pytest.approx(probability(open_words), abs=1e-6)
    assert 0 <= probability("") <= 1


def test_what_is_read_of_the_words_is_kept_for_the_reply(loaded: Engines) -> None:
    """The reply to the same words computes the marks after them only."""
    facts: dict[str, Any] = {}
    asked = request("Could you tell me when the restaurant opens", call=7, set_attribute=facts.__setitem__)

    async def read_and_reply() -> None:
        assert isinstance(loaded.llm, JudgesSentences)
        await loaded.llm.end_probability(asked)
        async for _ in loaded.llm.reply(asked):
            pass

    asyncio.run(read_and_reply())
    new = facts[tracing.LLM_PROMPT_TOKENS] - facts[tracing.PREFIX_CACHED_TOKENS]
    assert 0 < new < 8


def test_kept_phrases_sound_as_if_synthesised(loaded: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the sample; and a kept phrase needs no model, another clause does."""

    async def speak(tts: Any, text: str) -> AudioF32:
        return np.concatenate([piece async for piece in tts.speak(text)])

    plain = profile.load("cpu", ("tts.phrases=[]",)).tts.build()
    kept = asyncio.run(speak(loaded.tts, "Thank you,"))
    np.testing.assert_array_equal(kept, asyncio.run(speak(plain, "Thank you,")))
    asyncio.run(plain.close())
    monkeypatch.setattr(loaded.tts, "_model", SimpleNamespace(sample_rate=24_000))
    np.testing.assert_array_equal(asyncio.run(speak(loaded.tts, "Thank you,")), kept)
    with pytest.raises(EngineError, match=r"cannot speak 'Thank you\.'"):
        asyncio.run(speak(loaded.tts, "Thank you."))


def test_each_engine_describes_itself(loaded: Engines) -> None:
    """Engine, model and threads of every stage, for the ready message."""
    assert loaded.models["stt"] == "faster_whisper whisper-tiny.en int8, short window, 1 thread"
    assert [text.split(",")[0].split()[0] for text in loaded.models.values()] == [
        "silero",
        "words_and_melody",
        "faster_whisper",
        "onnx",
        "hibari",
    ]


def test_speech_is_distinguished_from_silence(loaded: Engines, prompts: Path) -> None:
    """On a human prompt between two seconds of line noise, at any frame length, to the same probabilities."""
    noise = np.random.default_rng(0).normal(0, 30, 8000)
    speech = recording(prompts, "privacy-prompt") * 32_767
    audio = np.concatenate([noise, speech, noise]).astype(np.int16)

    async def judge_windows(frame: int) -> list[float]:
        detector = loaded.vad.detector()
        pieces = [audio[at : at + frame] for at in range(0, len(audio), frame)]
        return [voicing.probability for piece in pieces for voicing in await detector.push(piece)]

    probabilities = np.array(asyncio.run(judge_windows(160)))
    assert probabilities[:28].max() < 0.2
    assert probabilities[-20:].max() < 0.2
    assert (probabilities[32:-32] > 0.5).mean() > 0.8
    np.testing.assert_array_equal(asyncio.run(judge_windows(1000)), probabilities)


def put_on_line(clip: AudioF32, distort: Callable[[AudioF32], AudioF32] = lambda audio: audio) -> npt.NDArray[np.int16]:
    """A clip between two seconds of line noise, as on the wire."""
    audio = np.random.default_rng(0).normal(0, 0.001, len(clip) + 16_000)
    audio[8000:-8000] += clip
    return mulaw.decode(mulaw.encode(np.clip(distort(audio) * 32_767, -32_767, 32_767).astype(np.int16)))


def audible(clip: AudioF32) -> AudioF32:
    """From its first 10 ms over -45 dBFS to its last."""
    frames = clip[: len(clip) // 80 * 80].reshape(-1, 80)
    loud = np.nonzero(np.sqrt(np.mean(np.square(frames), axis=1)) > 10 ** (-45 / 20))[0]
    return clip[loud[0] * 80 : (loud[-1] + 1) * 80]


def judge_windows(loaded: Engines, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
    async def push() -> list[Voicing]:
        return await loaded.vad.detector().push(pcm)

    return asyncio.run(push())


@pytest.mark.parametrize(
    "distort",
    [lambda audio: audio + 0.05, lambda audio: audio + 0.25, lambda audio: np.clip(10 * audio, -0.5, 0.5)],
    ids=["DC offset of 5 %", "DC offset of 25 %", "clipped by 20 dB"],
)
def test_a_bad_line_does_not_deceive_the_detector(
    loaded: Engines, prompts: Path, distort: Callable[[AudioF32], AudioF32]
) -> None:
    """With an offset or clipped: silence before and after stays silence, and the speech between is one utterance."""
    voicings = judge_windows(loaded, put_on_line(recording(prompts, "privacy-prompt"), distort))
    endpointer = SilenceEndpointer(EndpointingSettings(min_silence_ms=300))
    events = [event.kind for voicing in voicings for event in endpointer.push(voicing)]
    assert events == [EventKind.SPEECH_STARTED, EventKind.PROVISIONAL_END, EventKind.CONFIRMED_END]
    assert max(voicing.probability for voicing in voicings[:28]) < 0.35


@pytest.mark.parametrize("offset", [0.05, 0.25])
def test_an_offset_does_not_change_the_words(loaded: Engines, prompts: Path, offset: float) -> None:
    """Of a line that sits at 5 or 25 % of full scale every word is recognised."""
    pcm = put_on_line(recording(prompts, "privacy-prompt"), lambda audio: audio + offset)
    heard = asyncio.run(loaded.stt.transcribe((pcm / 32_768).astype(np.float32))).text
    assert " ".join(re.findall(r"\w+", heard.lower())) == "please enter your phone number starting with the area code"


@pytest.mark.parametrize("name", ["with", "vm-press", "dir-multi2"])
def test_a_word_of_400_ms_pauses_the_agent_and_ends_nothing(loaded: Engines, prompts: Path, name: str) -> None:
    """The shortest human prompts, 320 to 390 ms long: a pause, and going on within 600 ms of the sound's end."""
    clip = audible(recording(prompts, name))
    assert len(clip) <= 400 * 8
    interruption = Interruption(BargeInSettings(), EndpointingSettings())
    voicings = judge_windows(loaded, put_on_line(clip))
    moves = [(voicing.end_sample, interruption.push(voicing, True)) for voicing in voicings]
    (paused, first), (went_on, last) = [(at, move) for at, move in moves if move is not None]
    assert (first, last) == (Move.PAUSE, Move.RESUME)
    assert paused - 8000 <= 160 * 8
    assert went_on - 8000 - len(clip) <= 500 * 8


def test_a_sentence_over_the_agent_ends_its_turn(loaded: Engines, prompts: Path) -> None:
    """It pauses within 230 ms of the first audible sample, and yields while the caller speaks."""
    interruption = Interruption(BargeInSettings(), EndpointingSettings())
    voicings = judge_windows(loaded, put_on_line(recording(prompts, "privacy-prompt")))
    moves = [interruption.push(voicing, index < 60) for index, voicing in enumerate(voicings)]
    assert [move for move in moves if move is not None] == [Move.PAUSE, Move.YIELD]


def test_clauses_join_without_a_gap_or_a_click(loaded: Engines) -> None:
    """At the caller's ear: at most 150 ms of quiet at a join, and no step that the voice itself does not make."""

    async def reply() -> tuple[npt.NDArray[np.int16], list[int]]:
        encoder, line, joins = ReplyEncoder(loaded.tts.sample_rate), b"", []
        for clause in ("Thank you,", "I can arrange that for you", "with the manager.", "Is there anything else?"):
            async for piece in loaded.tts.speak(clause):
                line += b"".join(encoder.push(piece))
            line += b"".join(encoder.flush())
            joins.append(len(line))
        return mulaw.decode(line), joins[:-1]

    pcm, joins = asyncio.run(reply())
    quiet = np.sqrt(np.mean(np.square(pcm[: len(pcm) // 40 * 40].reshape(-1, 40) / 32_768), axis=1)) < 10 ** (-45 / 20)
    for join in joins:
        before, after = quiet[: join // 40][::-1], quiet[join // 40 :]
        assert (np.argmin(before) + np.argmin(after)) * 5 <= 150
        steps = np.abs(np.diff(pcm[join - 80 : join + 80].astype(int)))
        assert steps.max() <= 0.02 * 32_768


def test_a_human_prompt_is_transcribed(loaded: Engines, prompts: Path) -> None:
    """Word for word, in a window little longer than the speech; several at once give each its own."""

    async def both() -> list[Transcript]:
        names = ("privacy-prompt", "vm-intro")
        return await asyncio.gather(*(loaded.stt.transcribe(recording(prompts, name)) for name in names))

    first, second = asyncio.run(both())
    assert first.text.replace(",", "") == "Please enter your phone number starting with the area code."
    length_s = len(recording(prompts, "privacy-prompt")) / 8000
    assert length_s < first.window_s < length_s + 2
    assert second.text.lower().startswith("please leave your message after the tone")


def test_words_cut_close_to_their_end_are_whole(loaded: Engines, prompts: Path) -> None:
    """Handed over 100 ms after the last sound, on a line with noise, nothing is added to the last word or lost."""
    noise = np.random.default_rng(0).normal(0, 10**-3.2, 800).astype(np.float32)
    for name, words in (("priv-recordintro", "At the tone, please say your name"), ("vm-rec-busy", "the pound key")):
        transcript = asyncio.run(loaded.stt.transcribe(np.concatenate([recording(prompts, name), noise])))
        assert transcript.text.rstrip(".").endswith(words)


def test_long_speech_is_heard_in_the_full_window(loaded: Engines, prompts: Path) -> None:
    """Speech that leaves no room for silence behind it goes through 30 s, and beyond 30 s in several."""
    speech = recording(prompts, "demo-instruct")[: 35 * 8000]
    transcript = asyncio.run(loaded.stt.transcribe(speech))
    assert transcript.window_s == 30
    assert not transcript.rerun
    assert len(transcript.text.split()) > 60


@pytest.mark.parametrize(("sound", "window_s"), [(1, None), (2, 30.0)])
def test_a_transcript_that_repeats_itself_is_made_again(
    loaded: Engines, prompts: Path, monkeypatch: pytest.MonkeyPatch, sound: int, window_s: float | None
) -> None:
    """With more silence behind it, and if it still does, from the full window; the transcript says so."""
    real = loaded.stt._decode
    made: list[object] = []

    def stuttering(states: object, most: int | None = None) -> str | None:
        made.append(states)
        return "the area code the area code" if len(made) <= sound else real(states, most)

    monkeypatch.setattr(loaded.stt, "_decode", stuttering)
    transcript = asyncio.run(loaded.stt.transcribe(recording(prompts, "privacy-prompt")))
    assert transcript.text.replace(",", "") == "Please enter your phone number starting with the area code."
    assert transcript.rerun
    assert len(made) == sound + 1
    assert window_s is None or transcript.window_s == window_s


def test_a_transcript_without_end_is_stopped_early(loaded: Engines, prompts: Path) -> None:
    """Longer than anybody could have spoken in the time: it is no transcript, and costs no seconds."""
    stt: Any = loaded.stt
    states = stt._encode(to_16k(recording(prompts, "privacy-prompt")), 500)
    tokens = len(stt._tokenizer.encode("Please enter your phone number, starting with the area code."))
    assert stt._decode(states, tokens // 2) is None
    assert stt._decode(states, tokens + 4).startswith("Please enter your phone number")


def test_no_audio_has_no_words(loaded: Engines) -> None:
    """An empty utterance is an empty transcript, without the model."""
    assert asyncio.run(loaded.stt.transcribe(np.zeros(0, np.float32))).text == ""


def test_voices_in_the_background_have_no_words(loaded: Engines, prompts: Path) -> None:
    """Eight at once are no caller, though the model makes words of them; a word before them is one."""
    clip_names = (
        "demo-instruct",
        "privacy-prompt",
        "vm-options",
        "demo-abouttotry",
        "conf-adminmenu",
        "vm-tempgreeting",
    )
    voices = [np.rint(recording(prompts, name) * 32_767).astype(np.int16) for name in clip_names]
    babble = background_noise.make_babble(24_000, np.random.default_rng(1), voices).astype(np.float32)
    word = audible(recording(prompts, "digits/day-6"))
    behind = np.pad(word, 2000) + babble[: len(word) + 4000] * 0.03
    heard = [asyncio.run(loaded.stt.transcribe(audio)).text for audio in (babble * 0.05, behind)]
    assert heard[0] == ""
    assert "saturday" in heard[1].lower()


def test_a_reply_has_at_least_min_tokens() -> None:
    """`min_tokens` keeps it from ending sooner; the cap still holds."""
    settings = profile.load("cpu", ("llm.min_tokens=16", "llm.max_tokens=20")).llm
    assert isinstance(settings, OnnxSettings)

    async def pieces() -> list[str]:
        model = OnnxChat(settings)
        try:
            return [piece async for piece in model.reply(request("Thank you for calling."))]
        finally:
            await model.close()

    assert 14 <= len(asyncio.run(pieces())) <= 20


def test_a_reply_is_short_and_always_the_same(loaded: Engines) -> None:
    """One line of at most 24 tokens; the kept system prompt changes nothing from one request to the next."""

    async def replies() -> list[list[str]]:
        ask = [request("Do you have a room for tonight?"), request("Thank you for calling.", 1)] * 2
        return [[piece async for piece in loaded.llm.reply(each)] for each in ask]

    first, second, again, once_more = asyncio.run(replies())
    assert (first, second) == (again, once_more)
    for pieces in (first, second):
        assert 1 < len(pieces) <= 24
        assert "".join(pieces).strip() == "".join(pieces).rstrip()
        assert "\n" not in "".join(pieces)


def test_the_request_can_ask_for_fewer_tokens(loaded: Engines) -> None:
    """`max_tokens` caps the reply below the profile's own cap, with history before the words as without."""
    history = (Message("user", "Hello?"), Message("assistant", "Good morning, how may I help you?"))

    async def reply() -> list[str]:
        return [p async for p in loaded.llm.reply(request("Do you have parking?", history=history, max_tokens=3))]

    assert 0 < len(asyncio.run(reply())) <= 3


def test_speech_is_trimmed(loaded: Engines) -> None:
    """At the caller's ear: audible within 20 ms, quiet for no more than 90 (80, and the grid of 10) at the end."""

    async def synthesise(text: str) -> AudioF32:
        return np.concatenate([piece async for piece in loaded.tts.speak(text)])

    for text in ("Certainly, I can help you with that.", "Four fish for free.", "Please hold on."):
        audio = asyncio.run(synthesise(text))
        np.testing.assert_array_equal(asyncio.run(synthesise(text)), audio)
        down = Downsampler(loaded.tts.sample_rate)
        line = np.concatenate([down.push(audio), down.flush()]) / 32_767
        frames = line[: len(line) // 80 * 80].reshape(-1, 80)
        heard = np.nonzero(np.sqrt(np.mean(np.square(frames), axis=1)) > 10 ** (-45 / 20))[0]
        assert heard[0] <= 2
        assert len(frames) - 1 - heard[-1] <= 9
        assert 0.5 < len(line) / 8000 < 3


def test_synthesised_speech_is_transcribed_as_its_text(loaded: Engines) -> None:
    """The synthesiser's words, over the telephone's 8 kHz, are recognised."""

    async def round_trip(text: str) -> str:
        down = Downsampler(loaded.tts.sample_rate)
        pieces = [down.push(piece) async for piece in loaded.tts.speak(text)]
        line = np.concatenate([*pieces, down.flush()]).astype(np.float32) / 32_767
        return (await loaded.stt.transcribe(line)).text

    heard = asyncio.run(round_trip("Thank you for calling, have a nice day."))
    assert re.findall(r"\w+", heard.lower()) == ["thank", "you", "for", "calling", "have", "a", "nice", "day"]


def test_the_engines_leave_nothing_behind() -> None:
    """A process that loads, uses and closes them exits cleanly, having taken under 1.2 GB.

    (`VmHWM`, for `ru_maxrss` begins with what the process that forked it had.)
    """
    code = """
import asyncio, pathlib
from turngap_agent import loading, profile
asyncio.run((asyncio.run(loading.load(profile.load("cpu")))).close())
status = pathlib.Path("/proc/self/status").read_text().splitlines()
print(sum(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 1200


@pytest.mark.parametrize("stage", ["vad", "turn", "stt", "llm", "tts"])
def test_the_parts_of_an_engine_add_up_to_the_whole(loaded: Engines, prompts: Path, stage: EngineKind) -> None:
    """Within 2 %, as `turngap stage` asks for them; and each part that the engine declares was done."""
    audio = recording(prompts, "vm-options")[:16_000]
    given = StageInput("vm-options", "I need to change my booking", audio, ("I will find out for you.",))
    engine = getattr(loaded, stage)
    measured = asyncio.run(measure_units(make_work(stage, engine), [given], 2, None))
    split = split_times(engine, stage, measured.units)
    assert split.parts_ms is not None, split.note
    assert abs(sum(split.parts_ms.values()) - split.whole_ms) <= 0.02 * split.whole_ms
    assert set(engine.parts) <= {part for part, took_ms in split.parts_ms.items() if took_ms > 0}


@pytest.mark.parametrize("stage", ["vad", "stt", "llm", "tts"])
def test_the_work_of_an_engine_is_counted_from_its_own_model(prompts: Path, stage: EngineKind) -> None:
    """Weights are read and products done in the parts that have a network, and the floor is under what was measured."""
    audio = recording(prompts, "vm-options")[:8_000]
    given = StageInput("vm-options", "Yes", audio, ("Yes.",))
    networks = {"vad": {"network"}, "stt": {"encoder", "decoder"}, "llm": {"prefill", "decode"}, "tts": {"network"}}
    options = make_options(stage, "cpu")

    async def measure() -> tuple[dict[str, Any] | None, str]:
        engine = (await load_engine(options.settings)).engine
        measured = await measure_units(make_work(stage, engine), [given], 1, None)
        return await measure_floor(options, engine, engine.close, measured.units)

    floor, why = asyncio.run(measure())
    assert floor is not None, why
    assert set(floor["parts"]) == networks[stage]
    assert all(part["bytes"] > 0 and part["operations"] > 0 for part in floor["parts"].values())
    assert floor["ms"] > 0
    assert floor["distance"] == pytest.approx(floor["measured_ms"] / floor["ms"])
