"""Whisper's log-mel features on the device: transformers' formula, without its way to the host and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from turngap_agent.stt import AudioF32

_FLOOR, _RANGE = 1e-10, 8.0
"""Least power, and decades below the loudest bin that are kept (Radford et al. 2022, `whisper/audio.py`)."""


class LogMel:
    """The features of one window, by the filters of a transformers WhisperFeatureExtractor."""

    def __init__(self, extractor: Any, device: torch.device) -> None:
        self._n_fft: int = extractor.n_fft
        self._hop: int = extractor.hop_length
        self._samples: int = extractor.n_samples
        self._window = torch.hann_window(self._n_fft, device=device)
        filters = torch.from_numpy(extractor.mel_filters).to(device, torch.float32)
        self._filters = filters.T.contiguous()

    def compute(self, audio: AudioF32) -> Tensor:
        """Return the features (1, mel bins, frames) of 16 kHz `audio` (n,), padded with silence to the window."""
        wave = torch.zeros(self._samples, device=self._window.device)
        wave[: len(audio)].copy_(torch.from_numpy(audio[: self._samples]))
        spectrum = torch.stft(wave, self._n_fft, self._hop, window=self._window, return_complex=True)
        power = (spectrum[:, :-1].abs() ** 2).contiguous()
        log = (self._filters @ power).clamp(min=_FLOOR).log10()
        log = torch.maximum(log, log.max() - _RANGE)
        return ((log + 4.0) / 4.0).unsqueeze(0)
