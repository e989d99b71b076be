"""A slot's frames: the codes of transformers' own generate, whatever was kept, interleaved or left unfinished."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.graphs import Mode
from turngap_agent.device.tokens import StandInTokenizer
from turngap_agent.tts.csm import model, random_weights
from turngap_agent.tts.csm.context import Plan, Segment
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


def codes_of(speech: Speech, slot: Slot, plan: Plan, seed: int = 0) -> list[list[int]]:
    with speech.execution.active():
        slot.begin(plan, seed)
        found = []
        while slot.frame() is not None:
            found.append(slot.codes().tolist())
        return found


def frames_of(slot: Slot) -> list[np.ndarray]:
    frames = []
    while (samples := slot.frame()) is not None:
        frames.append(samples)
    return frames


def generated(network: Any, rows: Any, frames: int) -> list[list[int]]:
    """What transformers generates, greedily."""
    with torch.inference_mode():
        options = {"do_sample": False, "depth_decoder_do_sample": False, "max_new_tokens": frames}
        codes: list[list[int]] = network.generate(inputs_embeds=rows, **options)[0].tolist()
    return codes


def rows_of(speech: Speech, plan: Plan) -> torch.Tensor:
    with torch.inference_mode():
        text = speech.backbone.embed_text(torch.tensor(plan.text_ids))
        return torch.cat([*(segment.rows(speech.backbone) for segment in plan.segments), text])[None]


@pytest.mark.parametrize("count", [1, 15, 32, 33, 200])
def test_greedy_codes_are_those_of_transformers(make_speech: MakeSpeech, count: int) -> None:
    """In fp32, for texts shorter and longer than a prefill piece and than several of them, 40 frames are identical."""
    speech = make_speech()
    plan = Plan((), text_ids(count), 40)
    assert codes_of(speech, speech.slots[0], plan) == generated(speech.checkpoint.network, rows_of(speech, plan), 40)


def test_greedy_codes_with_context_are_those_of_transformers(make_speech: MakeSpeech) -> None:
    """Audio frames and their end mark are taken in as transformers takes them in."""
    speech = make_speech()
    plan = Plan((segment("prompt", 60), segment("turn")), text_ids(12), 30)
    assert codes_of(speech, speech.slots[0], plan) == generated(speech.checkpoint.network, rows_of(speech, plan), 30)


def test_an_utterance_is_laid_out_as_transformers_lays_it_out(make_speech: MakeSpeech) -> None:
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
def test_a_kept_prompt_gives_the_codes_of_one_computed_afresh(make_speech: MakeSpeech, temperature: float) -> None:
    """After other context in the same slot, and with the prompt's keys and values reused, nothing differs."""
    speech = make_speech(temperature=temperature, slots=2)
    used, fresh = speech.slots
    prompt = segment("prompt", 60)
    codes_of(speech, used, Plan((prompt, segment("a long turn before", 90)), text_ids(40), 20))
    plan = Plan((prompt, segment("turn")), text_ids(12), 30)
    assert used.shared_positions(plan.segments) == prompt.positions
    assert codes_of(speech, used, plan, seed=5) == codes_of(speech, fresh, plan, seed=5)


def test_only_what_differs_is_taken_in(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that the slot holds goes through the backbone once."""
    speech = make_speech()
    slot, prompt = speech.slots[0], segment("prompt", 60)
    taken: list[int] = []
    take_in = slot._take_in
    monkeypatch.setattr(slot, "_take_in", lambda rows: (taken.append(len(rows)), take_in(rows)))
    codes_of(speech, slot, Plan((prompt,), text_ids(12), 2))
    codes_of(speech, slot, Plan((prompt,), text_ids(13), 2))
    assert taken == [prompt.positions, 12, 13]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_interleaved_calls_give_what_each_gives_alone(make_speech: MakeSpeech, temperature: float) -> None:
    """Frames of two slots in turn: samples and codes bit for bit those of each on its own."""
    speech = make_speech(temperature=temperature, slots=2)
    plans = [Plan((segment("prompt"),), text_ids(12), 15), Plan((), text_ids(50, seed=8), 15)]

    def alone(plan: Plan, seed: int) -> list[np.ndarray]:
        with speech.execution.active():
            speech.slots[0].begin(plan, seed)
            return frames_of(speech.slots[0])

    wanted = [alone(plan, seed) for seed, plan in enumerate(plans)]
    with speech.execution.active():
        for seed, (slot, plan) in enumerate(zip(speech.slots, plans, strict=True)):
            slot.begin(plan, seed)
        got = [[], []]
        for _ in range(15):
            for number, slot in enumerate(speech.slots):
                got[number].append(slot.frame())
    for one, other in zip(wanted, got, strict=True):
        assert len(one) == 15
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_unfinished_call_leaves_nothing_behind(make_speech: MakeSpeech) -> None:
    """The slot's next call gives the samples that a slot never used gives."""
    speech = make_speech(slots=2)
    used, fresh = speech.slots
    plan = Plan((), text_ids(12), 12)
    with speech.execution.active():
        used.begin(Plan((segment("other"),), text_ids(30), 100), seed=9)
        for _ in range(5):
            used.frame()
        for slot in (used, fresh):
            slot.begin(plan, seed=1)
        for _ in range(12):
            assert np.array_equal(used.frame(), fresh.frame())
        assert used.frame() is None


def test_looking_ahead_changes_no_sample(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next frame launched before this one is read, as on a GPU, the same frames come out, and as many."""
    speech = make_speech(temperature=0.9, slots=2)
    ahead, plain = speech.slots
    monkeypatch.setattr(ahead, "_lookahead", 1)
    ahead._host = [torch.zeros_like(ahead._host[0]) for _ in range(2)]
    ahead._arrived = ahead._arrived * 2
    with speech.execution.active():
        for slot in (ahead, plain):
            slot.begin(Plan((), text_ids(12), 9), seed=1)
        frames = [(ahead.frame(), plain.frame()) for _ in range(10)]
    assert all(np.array_equal(one, other) for one, other in frames[:9])
    assert frames[9] == (None, None)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_the_end_frame_ends_the_audio(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch, lookahead: int) -> None:
    """When the model says end, that frame's samples and those launched after it are thrown away."""
    speech = make_speech()
    slot = speech.slots[0]
    slot._lookahead = lookahead
    slot._host = [torch.zeros_like(slot._host[0]) for _ in range(lookahead + 1)]
    slot._arrived = [lambda: None] * (lookahead + 1)
    made = []

    def depth_unit() -> None:
        made.append(1)
        slot._parts.codes.fill_(slot._parts.end_code if len(made) == 4 else 7)

    monkeypatch.setattr(slot, "_parts", dataclasses.replace(slot._parts, depth_unit=depth_unit))
    with speech.execution.active():
        slot.begin(Plan((), text_ids(12), 50), seed=1)
        frames = frames_of(slot)
        assert slot.frame() is None
    assert len(frames) == 3
    assert len(made) == 4 + lookahead


def test_the_first_frame_needs_one_pass(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """First audio is prefill, depth and codec: no backbone step, no second frame (on a device without lookahead)."""
    speech = make_speech()
    slot, steps = speech.slots[0], []
    monkeypatch.setattr(slot, "_step_units", {window: lambda: steps.append(1) for window in slot._windows})
    with speech.execution.active():
        slot.begin(Plan((), text_ids(12), 50), seed=1)
        samples = slot.frame()
    assert samples is not None
    assert samples.shape == (1920,)
    assert samples.dtype == np.float32
    assert steps == []


def test_the_last_position_can_be_spoken(make_speech: MakeSpeech) -> None:
    """Context and frames up to the very last position give transformers' codes still."""
    speech = make_speech(positions=256)
    plan = Plan((segment("prompt", 150),), text_ids(40), 256 - 40 - 160)
    assert codes_of(speech, speech.slots[0], plan) == generated(
        speech.checkpoint.network, rows_of(speech, plan), plan.frames
    )


@pytest.mark.slow
def test_greedy_codes_of_the_full_model_are_those_of_transformers() -> None:
    """CSM-1B itself, random weights, fp32: 6 frames after 15 ids are identical. 12 GiB, some minutes."""
    with model._quiet():
        config = random_weights.csm_1b()
        network = random_weights.build(config, torch.device("cpu"), torch.float32)
    model.trim_heads(network)
    checkpoint = model.Checkpoint(network, StandInTokenizer(128_000), "random", random=False)
    speech = Speech(checkpoint, sampling=Sampling(0, 50), positions=512)
    speech.prepare(Mode.EAGER, 1)
    plan = Plan((), text_ids(15), 6)
    assert codes_of(speech, speech.slots[0], plan) == generated(network, rows_of(speech, plan), 6)
