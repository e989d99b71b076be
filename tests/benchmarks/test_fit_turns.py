"""The fit recovers what made data were made with, and refuses what it cannot be fitted on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from turngap_agent.endpointing.words_and_melody.features import Features, load_model
from turngap_agent.errors import ProfileError

from benchmarks import fit_turns
from benchmarks.turn_taking import fitting
from benchmarks.turn_taking.fitting import LabelledPause

BASE = load_model().words


def make_pauses(constant: float, sentence: float, melody: float, n: int = 4000) -> list[LabelledPause]:
    """Pauses whose labels are drawn from a logistic model, of 40 speakers."""
    draw = np.random.default_rng(7)
    pauses = []
    for at in range(n):
        features = Features(float(draw.normal(0, 2)), float(draw.normal(0, 2)), 0.0, 0.0, 0.0)
        odds = constant + sentence * features.sentence + melody * features.melody
        over = draw.random() < 1 / (1 + math.exp(-odds))
        pauses.append(LabelledPause(f"speaker {at % 40}", None if over else 500.0, features))
    return pauses


def test_known_weights_are_found_again() -> None:
    """Within a tenth; the coefficients that are not fitted stay as they are."""
    fitted = fitting.fit_weights(make_pauses(0.0, 0.8, 0.3), fitting.BOTH, BASE)
    assert fitted.sentence == pytest.approx(0.8, abs=0.1)
    assert fitted.melody == pytest.approx(0.3, abs=0.1)
    assert fitted.constant == pytest.approx(0.0, abs=0.1)
    assert (fitted.dictated, fitted.short_answer) == (BASE.dictated, BASE.short_answer)


def test_a_weight_set_by_hand_counts_while_the_others_are_fitted() -> None:
    """What it explains is not put on the constant."""
    plain = make_pauses(0.0, 0.8, 0.0)
    opened = [
        replace(pause, length_ms=None if at % 5 == 0 else 500.0, features=replace(pause.features, open_word=1.0))
        for at, pause in enumerate(plain)
    ]
    given, ignored = (
        fitting.fit_weights([*plain, *opened], fitting.WORDS, BASE.model_copy(update={"open_word": weight}))
        for weight in (-1.5, 0.0)
    )
    assert (given.open_word, ignored.open_word) == (-1.5, 0.0)
    assert given.constant > ignored.constant + 0.5


def test_a_feature_that_says_nothing_gets_no_weight() -> None:
    """And the area under the curve, of speakers left out in turn, is that of the other feature alone."""
    pauses = make_pauses(0.0, 0.8, 0.0)
    assert fitting.fit_weights(pauses, fitting.BOTH, BASE).melody == pytest.approx(0, abs=0.05)
    both, words = (fitting.area_by_speaker(pauses, columns, BASE) for columns in (fitting.BOTH, fitting.WORDS))
    assert words > 0.7
    assert both == pytest.approx(words, abs=0.02)


def test_how_many_ends_there_are_does_not_move_the_constant() -> None:
    """Ends and pauses weigh the same: of two identical sets, one with each pause thrice, both give even odds."""
    pauses = make_pauses(0.0, 0.8, 0.0)
    thrice = [pause for pause in pauses for _ in range(1 if pause.length_ms is None else 3)]
    one, other = (fitting.fit_weights(of, fitting.WORDS, BASE) for of in (pauses, thrice))
    assert other.constant == pytest.approx(one.constant, abs=0.05)


def test_only_ends_or_only_pauses_cannot_be_fitted() -> None:
    """There is nothing to tell apart."""
    ends = [pause for pause in make_pauses(0, 1, 0, 50) if pause.length_ms is None]
    with pytest.raises(ValueError, match="needs ends and pauses"):
        fitting.fit_weights(ends, fitting.WORDS, BASE)
    with pytest.raises(ValueError, match="need two"):
        fitting.fit_lengths([("one", 150.0), ("one", 300.0)])


def test_known_lengths_of_pauses_are_found_again() -> None:
    """Median, spread, and how much a speaker's own pauses say, of 200 speakers."""
    draw = np.random.default_rng(3)
    pauses = []
    for speaker in range(200):
        own = draw.normal(math.log(900), 0.3)
        pauses += [(str(speaker), float(np.exp(draw.normal(own, 0.3)))) for _ in range(20)]
    lengths = fitting.fit_lengths(pauses)
    assert lengths.median_ms == pytest.approx(900, rel=0.1)
    assert lengths.spread == pytest.approx(math.hypot(0.3, 0.3), rel=0.1)
    assert lengths.weight == pytest.approx(1.0, abs=0.3)


def test_the_file_that_is_written_is_read_back(tmp_path: Path) -> None:
    """The same model; a misspelt key is one line with its place."""
    fit_turns.write(tmp_path / "fit.yaml", load_model())
    assert load_model(tmp_path / "fit.yaml") == load_model()
    (tmp_path / "bad.yaml").write_text((tmp_path / "fit.yaml").read_text().replace("open_words", "open_word"))
    with pytest.raises(ProfileError, match=r"bad\.yaml:\d+: unknown key `open_word`"):
        load_model(tmp_path / "bad.yaml")
