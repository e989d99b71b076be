"""Ids as CSM reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap_agent.device.tokens import StandInTokenizer
from turngap_agent.tts.csm.tokens import FileTokenizer, utterance


class Letters:
    """One id a letter."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def test_an_utterance_names_its_speaker_between_begin_and_end() -> None:
    """`[128000] + tokens("[1]hi") + [128001]`."""
    assert utterance(Letters(), 1, "hi", 128_000) == (128_000, *b"[1]hi", 128_001)


def test_the_stand_in_gives_about_as_many_tokens_as_a_large_vocabulary() -> None:
    """One in four to five and a half characters of English; the same ids in every process."""
    text = "Certainly, the swimming pool opens at seven in the morning, and breakfast is served until 10:30."
    ids = StandInTokenizer(128_000).encode(text)
    assert 4 <= len(text) / len(ids) <= 5.5
    assert ids[0] == 76_299
    assert all(0 <= token < 128_000 for token in ids)


def test_a_checkpoints_tokenizer_adds_no_special_tokens(tmp_path: Path) -> None:
    """A post-processor in the file does not run: CSM's own layout is written by us."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra csm: pip install 'turngap[csm]'")
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[BOS]": 0, "good": 1, "day": 2}, unk_token="[BOS]"))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rust.post_processor = tokenizers.processors.TemplateProcessing("[BOS] $0", special_tokens=[("[BOS]", 0)])
    rust.save(str(tmp_path / "tokenizer.json"))
    assert FileTokenizer(tmp_path / "tokenizer.json").encode("good day") == [1, 2]
