"""The streaming codec decodes what one offline decode does, and starts from silence when it is reset."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.tts.csm.codec import MimiDecoder, encode, reset
from turngap_agent.tts.csm.model import CsmCheckpoint


def signal_to_error_db(expected: torch.Tensor, actual: torch.Tensor) -> float:
    return float(10 * torch.log10((expected**2).sum() / ((expected - actual) ** 2).sum()))


def test_frame_by_frame_equals_one_offline_decode(checkpoint: CsmCheckpoint) -> None:
    """Over 200 frames, more than the transformer's window, the error is at least 100 dB below the signal."""
    mimi = checkpoint.network.codec_model
    codes = torch.randint(0, 64, (200, 4), generator=torch.Generator().manual_seed(1))
    decoder = MimiDecoder(mimi, frames=200)
    with torch.inference_mode():
        state = decoder.new_state()
        streamed = torch.cat([decoder.decode_frame(frame, state) for frame in codes])
        offline = mimi.decode(codes.T[None]).audio_values[0, 0]
    assert streamed.shape == offline.shape == (200 * 1920,)
    assert signal_to_error_db(offline, streamed) >= 100


def test_transformers_own_decode_does_not_stream(checkpoint: CsmCheckpoint) -> None:
    """Why this decoder exists: frame by frame, transformers' pieces differ from the whole. If not, drop it."""
    mimi = checkpoint.network.codec_model
    codes = torch.randint(0, 64, (20, 4), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        pieces = torch.cat([mimi.decode(frame.view(1, 4, 1)).audio_values[0, 0] for frame in codes])
        offline = mimi.decode(codes.T[None]).audio_values[0, 0]
    assert signal_to_error_db(offline, pieces) < 30


def test_a_reset_state_is_like_a_new_one(checkpoint: CsmCheckpoint) -> None:
    """Nothing of an earlier call is in the next, bit for bit."""
    decoder = MimiDecoder(checkpoint.network.codec_model, frames=300)
    codes = torch.randint(0, 64, (140, 4), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        state, new = decoder.new_state(), decoder.new_state()
        for frame in codes:
            decoder.decode_frame(frame, state)
        reset(state)
        for frame in codes[:5]:
            assert torch.equal(decoder.decode_frame(frame, state), decoder.decode_frame(frame, new))


def test_audio_encodes_to_one_frame_each_80_ms(checkpoint: CsmCheckpoint) -> None:
    """An incomplete frame counts."""
    with torch.inference_mode():
        codes = encode(checkpoint.network.codec_model, torch.randn(3 * 1920 + 1) / 10, 4, 1920)
    assert codes.shape == (4, 4)
    assert 0 <= int(codes.min()) <= int(codes.max()) < 64


def test_another_architecture_is_an_error(checkpoint: CsmCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that is not causal cannot stream."""
    monkeypatch.setattr(checkpoint.network.codec_model.config, "use_causal_conv", False)
    with pytest.raises(ValueError, match="causal"):
        MimiDecoder(checkpoint.network.codec_model, frames=10)
