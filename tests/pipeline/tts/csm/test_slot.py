"""A slot's frames: transformers' codes, whatever context was kept, interleaved or left unfinished."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import Mode
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.tts.csm import model, random_weights
from turngap_agent.tts.csm.context import Segment, SpeechPlan
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.slot import Slot
from turngap_agent.tts.csm.speech import Speech

if TYPE_CHECKING:
    from conftest import MakeSpeech


def text_ids(count: int, seed: int = 3) -> tuple[int, ...]:
    return tuple(torch.randint(0, 250, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


def segment(name: str, frames: int = 20) -> Segment:
    generator = torch.Generator().manual_seed(sum(name.encode()))
    return Segment(name.encode(), text_ids(9, seed=len(name)), torch.randint(0, 64, (frames, 4), generator=generator))


def run_plan(speech: Speech, slot: Slot, plan: SpeechPlan, seed: int = 0) -> list[list[int]]:
    with speech.execution.activate():
        slot.start(plan, seed)
        codes = []
        while slot.next_frame() is not None:
            codes.append(slot.last_codes().tolist())
        return codes


def read_frames(slot: Slot) -> list[np.ndarray]:
    frames = []
    while (samples := slot.next_frame()) is not None:
        frames.append(samples)
    return frames


def generate(network: Any, rows: Any, frames: int) -> list[list[int]]:
    """Return the codes that transformers generates, greedily."""
    with torch.inference_mode():
        options = {"do_sample": False, "depth_decoder_do_sample": False, "max_new_tokens": frames}
        codes: list[list[int]] = network.generate(inputs_embeds=rows, **options)[0].tolist()
    return codes


def embed_plan(speech: Speech, plan: SpeechPlan) -> torch.Tensor:
    with torch.inference_mode():
        text = speech.backbone.embed_text(torch.tensor(plan.text_ids))
        return torch.cat([*(segment.rows(speech.backbone) for segment in plan.segments), text])[None]


@pytest.mark.parametrize("count", [1, 15, 32, 33, 200])
def test_greedy_codes_are_those_of_transformers(make_speech: MakeSpeech, count: int) -> None:
    """In fp32, for texts shorter and longer than a prefill piece and than several of them, 40 frames are identical."""
    speech = make_speech()
    plan = SpeechPlan((), text_ids(count), 40)
    assert run_plan(speech, speech.slots[0], plan) == generate(speech.checkpoint.network, embed_plan(speech, plan), 40)


def test_greedy_codes_with_context_are_those_of_transformers(make_speech: MakeSpeech) -> None:
    """Audio frames and their end mark are embedded as transformers does."""
    speech = make_speech()
    plan = SpeechPlan((segment("prompt", 60), segment("turn")), text_ids(12), 30)
    assert run_plan(speech, speech.slots[0], plan) == generate(speech.checkpoint.network, embed_plan(speech, plan), 30)


def test_an_utterance_has_the_layout_of_transformers(make_speech: MakeSpeech) -> None:
    """Text ids, a row for each 80 ms, a closing row: the embeddings of transformers' own merging of text and audio."""
    speech = make_speech()
    network, config = speech.checkpoint.network, speech.checkpoint.network.config
    samples = torch.randn(1920 * 6, generator=torch.Generator().manual_seed(4)) / 10
    turn = speech._store.segment(0, "good morning", samples.numpy(), 24_000)
    ids = [*turn.text_ids, *[config.audio_token_id] * 6, config.audio_eos_token_id]
    with torch.inference_mode():
        merged = network._merge_input_ids_with_input_values(
            torch.tensor([ids]), samples.view(1, 1, -1), torch.tensor([[len(samples)]])
        )["inputs_embeds"]
        assert torch.equal(merged[0], turn.rows(speech.backbone))


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_kept_prompt_has_the_codes_of_a_new_one(make_speech: MakeSpeech, temperature: float) -> None:
    """After other context in the same slot, and with the prompt's keys and values reused, nothing differs."""
    speech = make_speech(temperature=temperature, slots=2)
    used, fresh = speech.slots
    prompt = segment("prompt", 60)
    run_plan(speech, used, SpeechPlan((prompt, segment("a long turn before", 90)), text_ids(40), 20))
    plan = SpeechPlan((prompt, segment("turn")), text_ids(12), 30)
    assert used.shared_positions(plan.segments) == prompt.positions
    assert run_plan(speech, used, plan, seed=5) == run_plan(speech, fresh, plan, seed=5)


def test_only_what_differs_is_lengths_in(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that the slot has is computed once."""
    speech = make_speech()
    slot, prompt = speech.slots[0], segment("prompt", 60)
    lengths: list[int] = []
    compute = slot._compute
    monkeypatch.setattr(slot, "_compute", lambda rows: (lengths.append(len(rows)), compute(rows)))
    run_plan(speech, slot, SpeechPlan((prompt,), text_ids(12), 2))
    run_plan(speech, slot, SpeechPlan((prompt,), text_ids(13), 2))
    assert lengths == [prompt.positions, 12, 13]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_interleaved_calls_have_the_samples_each_has_alone(make_speech: MakeSpeech, temperature: float) -> None:
    """Frames of two slots in turn: samples and codes bit for bit those of each on its own."""
    speech = make_speech(temperature=temperature, slots=2)
    plans = [SpeechPlan((segment("prompt"),), text_ids(12), 15), SpeechPlan((), text_ids(50, seed=8), 15)]

    def alone(plan: SpeechPlan, seed: int) -> list[np.ndarray]:
        with speech.execution.activate():
            speech.slots[0].start(plan, seed)
            return read_frames(speech.slots[0])

    expected = [alone(plan, seed) for seed, plan in enumerate(plans)]
    with speech.execution.activate():
        for seed, (slot, plan) in enumerate(zip(speech.slots, plans, strict=True)):
            slot.start(plan, seed)
        actual = [[], []]
        for _ in range(15):
            for number, slot in enumerate(speech.slots):
                actual[number].append(slot.next_frame())
    for one, other in zip(expected, actual, strict=True):
        assert len(one) == 15
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_unfinished_call_does_not_change_the_next(make_speech: MakeSpeech) -> None:
    """The slot's next call has the samples of an unused slot."""
    speech = make_speech(slots=2)
    used, fresh = speech.slots
    plan = SpeechPlan((), text_ids(12), 12)
    with speech.execution.activate():
        used.start(SpeechPlan((segment("other"),), text_ids(30), 100), seed=9)
        for _ in range(5):
            used.next_frame()
        for slot in (used, fresh):
            slot.start(plan, seed=1)
        for _ in range(12):
            assert np.array_equal(used.next_frame(), fresh.next_frame())
        assert used.next_frame() is None


def test_looking_ahead_changes_no_sample(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next frame launched before this one is read, as on a GPU, the frames are the same, and as many."""
    speech = make_speech(temperature=0.9, slots=2)
    ahead, plain = speech.slots
    monkeypatch.setattr(ahead, "_lookahead", 1)
    ahead._host = [torch.zeros_like(ahead._host[0]) for _ in range(2)]
    ahead._waits = ahead._waits * 2
    with speech.execution.activate():
        for slot in (ahead, plain):
            slot.start(SpeechPlan((), text_ids(12), 9), seed=1)
        frames = [(ahead.next_frame(), plain.next_frame()) for _ in range(10)]
    assert all(np.array_equal(one, other) for one, other in frames[:9])
    assert frames[9] == (None, None)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_the_end_frame_ends_the_audio(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch, lookahead: int) -> None:
    """When the model says end, that frame's samples and those launched after it are discarded."""
    speech = make_speech()
    slot = speech.slots[0]
    slot._lookahead = lookahead
    slot._host = [torch.zeros_like(slot._host[0]) for _ in range(lookahead + 1)]
    slot._waits = [lambda: None] * (lookahead + 1)
    frame_numbers = []

    def depth_unit() -> None:
        frame_numbers.append(1)
        slot._parts.codes.fill_(slot._parts.end_code if len(frame_numbers) == 4 else 7)

    monkeypatch.setattr(slot, "_parts", dataclasses.replace(slot._parts, depth_unit=depth_unit))
    with speech.execution.activate():
        slot.start(SpeechPlan((), text_ids(12), 50), seed=1)
        frames = read_frames(slot)
        assert slot.next_frame() is None
    assert len(frames) == 3
    assert len(frame_numbers) == 4 + lookahead


def test_the_first_frame_needs_one_pass(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """First audio is prefill, depth and codec: no backbone step, no second frame (on a device without lookahead)."""
    speech = make_speech()
    slot, steps = speech.slots[0], []
    monkeypatch.setattr(slot, "_step_units", {window: lambda: steps.append(1) for window in slot._windows})
    with speech.execution.activate():
        slot.start(SpeechPlan((), text_ids(12), 50), seed=1)
        samples = slot.next_frame()
    assert samples is not None
    assert samples.shape == (1920,)
    assert samples.dtype == np.float32
    assert steps == []


def test_the_last_position_can_be_spoken(make_speech: MakeSpeech) -> None:
    """Context and frames up to the last position still have transformers' codes."""
    speech = make_speech(positions=256)
    plan = SpeechPlan((segment("prompt", 150),), text_ids(40), 256 - 40 - 160)
    assert run_plan(speech, speech.slots[0], plan) == generate(
        speech.checkpoint.network, embed_plan(speech, plan), plan.frames
    )


@pytest.mark.slow
def test_greedy_codes_of_the_full_model_are_those_of_transformers() -> None:
    """CSM-1B itself, random weights, fp32: 6 frames after 15 ids are identical. 12 GiB, some minutes."""
    with model.silence_transformers():
        config = random_weights.csm_1b()
        network = random_weights.build(config, torch.device("cpu"), torch.float32)
    model.trim_heads(network)
    checkpoint = model.CsmCheckpoint(network, StandInTokenizer(128_000), "random", random=False)
    speech = Speech(checkpoint, sampling=Sampling(0, 50), positions=512)
    speech.prepare(Mode.EAGER, 1)
    plan = SpeechPlan((), text_ids(15), 6)
    assert run_plan(speech, speech.slots[0], plan) == generate(network, embed_plan(speech, plan), 6)
