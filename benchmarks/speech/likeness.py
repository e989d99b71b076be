"""How like the reference another depth decoder is, without an ear: its codes, their chances, and the sound's spectrum.

Both get the same hidden states and the same codes before each code, those of the reference: after one other code a
sentence goes on otherwise, and all that follows differs, which says nothing. The yardstick is another draw of the
reference, which is as good a take as the first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from turngap_agent.tts.csm.codec import MimiDecoder
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.speech import Speech

WINDOW, HOP = 1024, 256
"""Samples of a spectrum, and from one to the next: 43 and 11 ms."""
FLOOR_DB = 60.0
"""Bins this far below the loudest of both sounds count as that loud: nobody hears them."""


def measure(reference: Speech, other: Speech, plan: SpeechPlan) -> dict[str, Any]:
    """Return the distances of `other` from `reference` over the frames of `plan`, and those of another draw.

    `same_codes`: the share of codes that are the same for the same noise, without the first of each frame. The noise
    belongs to codes, not to ranks as in `sampling.sample`, where two codes that change places exchange their noise.
    `changed_chance`: half the sum of the differences of both distributions, in the mean; the least share of draws that
    must differ, whatever the noise. `spectral_distance_db`: see `spectral_distance_db`. Both must be prepared.
    """
    frames, chances = _speak(reference, plan), []
    sampling = reference.backbone.sampling
    drawn: dict[str, list[Tensor]] = {"reference": [], "other": [], "another_draw": []}
    with reference.execution.activate():
        generator = torch.Generator(reference.device).manual_seed(1)
        for hidden, codes in frames:
            full, changed = (depth.score_codes(hidden, codes) for depth in (reference.depth, other.depth))
            noises = [torch.empty_like(full, dtype=torch.float32).exponential_(generator=generator) for _ in "ab"]
            for name, logits, noise in (
                ("reference", full, noises[0]),
                ("other", changed, noises[0]),
                ("another_draw", full, noises[1]),
            ):
                drawn[name].append(torch.cat((codes[:1], _draw(logits, noise, sampling))))
            chances.append(
                0.5 * (_distribution(full, sampling) - _distribution(changed, sampling)).abs().sum(-1).mean()
            )
        sounds = {name: _decode(reference.codec, codes) for name, codes in drawn.items()}
    result: dict[str, Any] = {
        name: {
            "same_codes": _same_share(drawn["reference"], drawn[name]),
            "spectral_distance_db": spectral_distance_db(sounds["reference"], sounds[name]),
        }
        for name in ("other", "another_draw")
    }
    result["other"]["changed_chance"] = float(torch.stack(chances).mean())
    return result | {"frames": len(frames)}


def spectral_distance_db(one: Tensor, other: Tensor) -> float:
    """Return the log-spectral distance of two sounds of the same length (n,): 0 for the same spectrum.

    The root of the mean squared difference of their levels in dB over the bins of a window, in the mean over windows.
    """
    window = torch.hann_window(WINDOW, device=one.device)
    powers = [
        torch.stft(sound.float(), WINDOW, HOP, window=window, return_complex=True).abs() ** 2 for sound in (one, other)
    ]
    floor = max(float(power.max()) for power in powers) * 10 ** (-FLOOR_DB / 10)
    levels = [10 * power.clamp(min=max(floor, 1e-20)).log10() for power in powers]
    return float((levels[0] - levels[1]).square().mean(dim=0).sqrt().mean())


def _speak(speech: Speech, plan: SpeechPlan) -> list[tuple[Tensor, Tensor]]:
    """Return each frame's hidden state (1, hidden) and codes (codebooks,), as they come one after the other."""
    slot, frames = speech.slots[0], []
    with speech.execution.activate():
        slot.start(plan, seed=1)
        for _ in range(plan.frames):
            frames.append((slot._parts.hidden.clone(), slot.last_codes()))
            slot.next_frame(look_ahead=False)
            if len(frames) < plan.frames:
                slot.launch()
    return frames


def _distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return the chance of each code, of the likeliest `top_k` alone."""
    least = logits.float().topk(sampling.top_k, dim=-1).values[..., -1:]
    kept = logits.float().masked_fill(logits < least, float("-inf"))
    return (kept / max(sampling.temperature, 1e-6)).softmax(-1)


def _draw(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Return a code for each row by the smallest of `noise` (rows, codes), exponential, over its chance."""
    return (_distribution(logits, sampling) / noise).argmax(-1)


def _decode(codec: MimiDecoder, codes: list[Tensor]) -> Tensor:
    state = codec.new_state()
    return torch.cat([codec.decode_frame(frame, state) for frame in codes])


def _same_share(one: list[Tensor], other: list[Tensor]) -> float:
    return float((torch.stack(one)[:, 1:] == torch.stack(other)[:, 1:]).double().mean())
