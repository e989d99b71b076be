"""What the attacking callers send is refused by the parser, or understood; nothing else comes of it."""

from __future__ import annotations

import itertools

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony.parsing import parse_inbound

from benchmarks.attacks import make_malformed


def test_malformed_messages_are_refused_in_one_way() -> None:
    """Text that is no message raises a ProtocolError, whatever is wrong with it; most of it is no message."""
    texts = [message for message in itertools.islice(make_malformed(1), 12_000) if isinstance(message, str)]
    refused = 0
    for text in texts:
        try:
            parse_inbound(text)
        except ProtocolError:
            refused += 1
    assert len(texts) * 0.5 < refused < len(texts)


def test_attacks_differ_by_seed() -> None:
    """And one seed always sends the same."""
    first, again, other = (list(itertools.islice(make_malformed(seed), 60)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
