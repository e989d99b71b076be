"""The sentence with a figure says on what speech it was measured."""

from __future__ import annotations

from turngap.model.figures import CorpusFigures, Source
from turngap.verdict.speech import describe_speech, name_both, name_speech


def corpus(*sources: tuple[str, int]) -> CorpusFigures:
    listed = tuple(Source(source=source, utterances=count) for source, count in sources)
    return CorpusFigures(distinct_utterances=sum(count for _, count in sources), synthetic=0, strata={}, sources=listed)


def test_the_speech_is_in_the_figures_own_sentence() -> None:
    """Before the end of the first one, whatever follows."""
    speech = corpus(("AMI Meeting Corpus (CC-BY-4.0)", 40))
    sentence = "b holds with one call at a time: p95 is 412.5 ms. The network is assumed."
    assert name_speech(sentence, speech) == (
        "b holds with one call at a time: p95 is 412.5 ms, measured on 40 utterances: AMI Meeting Corpus (CC-BY-4.0)."
        " The network is assumed."
    )


def test_several_sources_are_counted() -> None:
    """The two largest by name."""
    assert describe_speech(corpus(("a (X)", 3), ("b (Y)", 1))) == "4 utterances: 3 of a (X) and 1 of b (Y)"
    assert describe_speech(corpus(("a", 5), ("b", 3), ("c", 2), ("d", 1))) == (
        "11 utterances: 5 of a, 3 of b and 3 of 2 other sources"
    )


def test_a_run_of_an_older_version_says_nothing_of_it() -> None:
    """Without sources nothing is added."""
    assert name_speech("p95 is 4 ms.", corpus()) == "p95 is 4 ms."


def test_a_comparison_names_the_speech_of_both_runs() -> None:
    """Once where it is the same."""
    one, other = corpus(("a (X)", 3)), corpus(("b (Y)", 2))
    assert name_both("slower: p95 5 → 6 ms.", one, one) == "slower: p95 5 → 6 ms; measured on 3 utterances: a (X)"
    assert name_both("same", one, other) == (
        "same; measured on 3 utterances: a (X), the other run on 2 utterances: b (Y)"
    )
    assert name_both("same.", corpus(), corpus()) == "same."
