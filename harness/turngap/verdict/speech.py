"""On what speech a figure was measured, in the same sentence as the figure. Pure."""

from __future__ import annotations

import re

from turngap.model.figures import CorpusFigures
from turngap.model.plural import plural

_MOST_SOURCES = 2
"""With more, the rest is counted."""
_SENTENCE_END = re.compile(r"\.(?= [A-Z]|\s*$)")


def name_speech(sentence: str, corpus: CorpusFigures) -> str:
    """Return the sentence with what it was measured on: how many utterances, from where, under which licence."""
    described = describe_speech(corpus)
    end = _SENTENCE_END.search(sentence)
    if not described or end is None:
        return sentence
    return f"{sentence[: end.start()]}, measured on {described}{sentence[end.start() :]}"


def name_both(sentence: str, head: CorpusFigures, base: CorpusFigures) -> str:
    """Return a comparison's sentence with what both runs were measured on, or with each one's speech if they differ."""
    speeches = list(dict.fromkeys(filter(None, map(describe_speech, (head, base)))))
    if not speeches:
        return sentence
    return f"{sentence.rstrip('.')}; measured on {', the other run on '.join(speeches)}"


def describe_speech(corpus: CorpusFigures) -> str:
    """Return the speech in words, "40 utterances: 30 of AMI Meeting Corpus (CC-BY-4.0) and 10 of …"; "" without any."""
    if not corpus.distinct_utterances or not corpus.sources:
        return ""
    counted = plural(corpus.distinct_utterances, "utterance")
    if len(corpus.sources) == 1:
        return f"{counted}: {corpus.sources[0].source}"
    parts = [f"{one.utterances} of {one.source}" for one in corpus.sources[:_MOST_SOURCES]]
    rest = corpus.sources[_MOST_SOURCES:]
    if rest:
        parts.append(f"{sum(one.utterances for one in rest)} of {plural(len(rest), 'other source')}")
    return f"{counted}: {', '.join(parts[:-1])} and {parts[-1]}"
