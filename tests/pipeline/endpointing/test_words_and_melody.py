"""The features of a pause, and the model that combines them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from turngap_agent import profile
from turngap_agent.endpointing import Pause
from turngap_agent.endpointing.policies import Confirmation
from turngap_agent.endpointing.words_and_melody.engine import WordsAndMelody
from turngap_agent.endpointing.words_and_melody.features import load_model, log_odds, read_features
from turngap_agent.endpointing.words_and_melody.settings import WordsAndMelodySettings
from turngap_agent.errors import EngineError, ProfileError

MODEL = load_model()
SILENCE = np.zeros(800, np.float32)


def pause(words: str, sentence_end: float | None = 0.5, question: str = "") -> Pause:
    return Pause(SILENCE, words, sentence_end, question)


def judge(model: WordsAndMelody, heard: Pause) -> float:
    return asyncio.run(model.judge(heard))


def make(melody: float | None = None) -> WordsAndMelody:
    scripted = None if melody is None else {"engine": "scripted", "probability": melody}
    return WordsAndMelody(WordsAndMelodySettings(engine="words_and_melody", melody=scripted))


def test_a_whole_sentence_is_more_of_an_end_than_an_open_one() -> None:
    """By the language model's probability, whatever the recogniser's full stop says."""
    model = make()
    assert judge(model, pause("I need a room.", 0.9)) > judge(model, pause("I need a room.", 0.1))
    assert judge(model, pause("I need a", 0.5)) < judge(model, pause("I need rooms", 0.5))


@pytest.mark.parametrize("words", ["Thursday", "Thursday at ten", "Sierra, Mike, November."])
def test_of_few_words_the_language_models_probability_says_nothing(words: str) -> None:
    """They are as often an answer as the beginning of one; only a last word that asks for another counts."""
    model = make()
    assert judge(model, pause(words, 0.01)) == judge(model, pause(words, 0.9))
    assert judge(model, pause(f"{words} and", None)) < judge(model, pause(words, None))


def test_without_words_the_turn_is_not_over() -> None:
    """Nothing was understood, so nothing could be answered."""
    assert judge(make(), pause("", None)) == 0.0
    assert needed_ms("", 0.0) == 960


@pytest.mark.parametrize(
    ("question", "words", "dictated", "short_answer"),
    [
        ("What is your number?", "four one five", 1.0, 0.0),
        ("Thank you. Could you spell that?", "B R O", 1.0, 0.0),
        ("Thank you. Could you give me your number?", "four one five", 1.0, 0.0),
        ("Can you tell me the code, please?", "sure, it is four", 1.0, 0.0),
        ("May I have your email address?", "yes, it is", 1.0, 0.0),
        ("Could you come to this address?", "yes", 0.0, 1.0),
        ("Can I help you with that number?", "yes", 0.0, 1.0),
        ("Please spell your name.", "B R O", 1.0, 0.0),
        ("Tell me your number.", "four one five", 1.0, 0.0),
        ("I have your number here.", "oh good", 0.0, 0.0),
        ("What is your number? One moment.", "four one five", 0.0, 0.0),
        ("Is that right?", "yes it is", 0.0, 1.0),
        ("Is that right?", "the other one", 0.0, 0.0),
        ("Good. Do you have a reference number?", "yes", 0.0, 1.0),
        ("How may I help you?", "yes hello", 0.0, 0.0),
        ("", "yes", 0.0, 0.0),
        ("okay what is your phone number", "seven one five", 1.0, 0.0),  # a transcript without marks
        ("thank you i have your number how can i help you today", "a room", 0.0, 0.0),
        ("i have your number", "thank you", 0.0, 0.0),
        ("", "the code is 7, 0", 1.0, 0.0),  # digits that go on
        ("", "715-139", 1.0, 0.0),
        ("what's your zip code", "nine four", 1.0, 0.0),
        ("", "7 1 5", 1.0, 0.0),
        ("", "4.1.5", 1.0, 0.0),  # a recogniser's marks between digits
        ("", "at 5:30", 0.0, 0.0),
        ("", "room 4 at 17:45", 0.0, 0.0),
        ("", "it costs $2.50", 0.0, 0.0),
        ("", "1,000", 0.0, 0.0),
        ("", "the 3rd", 0.0, 0.0),
        ("", "20%", 0.0, 0.0),
        ("", "room 12", 0.0, 0.0),
        ("", "7 rooms", 0.0, 0.0),
    ],
)
def test_the_agents_question_says_what_to_expect(
    question: str, words: str, dictated: float, short_answer: float
) -> None:
    """A number comes in pieces; a question for yes or no is answered by the first word."""
    features = read_features(pause(words, 0.5, question), MODEL)
    assert (features.dictated, features.short_answer) == (dictated, short_answer)


def test_the_question_moves_the_probability_the_right_way() -> None:
    """Less of an end while a number is dictated, more after a yes."""
    model = make()
    plain = judge(model, pause("four one five"))
    assert judge(model, pause("four one five", question="What is your number?")) < plain
    assert judge(model, pause("yes", question="Is that right?")) > judge(model, pause("yes"))


def needed_ms(words: str, sentence_end: float, question: str = "") -> float:
    """The silence that profile `cpu` waits for."""
    settings = profile.load("cpu").endpointing
    probability = judge(make(), pause(words, sentence_end, question))
    return Confirmation(settings).needed_samples(probability) / 8


def test_only_more_than_an_open_sentence_is_waited_for_long() -> None:
    """Half a second where the language model alone doubts the end; longer in a number, or after "and"."""
    assert needed_ms("a room for two people", 0.9) == 416
    assert 500 < needed_ms("a room for two people", 0.0) < 560
    assert needed_ms("my number is 715 139", 0.0) > 750
    assert needed_ms("seven one five", 0.5, "What is your phone number?") > 600
    assert 750 < needed_ms("a room for two and", 0.0) <= 960
    assert needed_ms("a room for two people", 0.0, "What is your phone number?") > 750


def test_what_is_not_known_moves_nothing() -> None:
    """No answer of the language model counts as even odds, and so does no melody."""
    assert judge(make(), pause("a room please", None)) == judge(make(), pause("a room please", 0.5))
    assert read_features(pause("a room"), MODEL).melody == 0.0
    assert log_odds(0.5) == 0.0
    assert log_odds(0.0) == -log_odds(1.0)


def test_a_melody_is_asked_with_the_audio_and_counted() -> None:
    """With its own weights; one that fails is an error of this query alone."""
    heard = judge(make(0.9), pause("a room please"))
    assert heard == pytest.approx(MODEL.words_and_melody.probability(read_features(pause("a room please"), MODEL, 0.9)))

    class Broken:
        async def completeness(self, audio: object) -> float:
            raise EngineError("a defect")

    model = make(0.9)
    model._melody = Broken()  # type: ignore[assignment]
    with pytest.raises(EngineError, match="a defect"):
        judge(model, pause("a room please"))


def test_a_missing_file_of_coefficients_is_one_line() -> None:
    """With its name."""
    with pytest.raises(ProfileError, match=r"nowhere\.yaml"):
        WordsAndMelody(WordsAndMelodySettings(engine="words_and_melody", coefficients="nowhere.yaml"))
