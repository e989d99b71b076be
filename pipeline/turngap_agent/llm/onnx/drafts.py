"""Drafts of a reply's next tokens, copied from the conversation, so that one pass of the model makes several of them.

A small model says again what its prompt shows it: phrases of the examples, of the call's earlier replies. Where the
last tokens have stood before, those that followed them there are a draft of what follows now. A pass over a token and
its draft costs little more than one over the token, since the weights are read once, and it gives the logits after each
of them. The choice stays the model's own: a drafted token counts only where it is the one that is chosen. (Speculative
decoding: Leviathan, Kalman, Matias, ICML 2023; with the prompt as the draft: Saxena, "Prompt Lookup Decoding", 2023.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

LONGEST, SHORTEST = 3, 2
"""How many of the last tokens must have stood together before: the more, the surer is the draft."""


def find_draft(ids: Sequence[int], most: int, ends: Collection[int]) -> list[int]:
    """Return up to `most` tokens that followed the last ones of `ids` where these stood before, at the latest place.

    Args:
        ids: The conversation so far, with the reply's own tokens.
        most: The longest draft; 0 or less: none.
        ends: What ends a reply: a draft stops before it, as nothing follows.
    """
    for size in range(LONGEST, SHORTEST - 1, -1):
        tail = list(ids[-size:])
        for start in range(len(ids) - size - 1, -1, -1):
            if ids[start + size - 1] == tail[-1] and list(ids[start : start + size]) == tail:
                return _cut(ids[start + size : start + size + max(0, most)], ends)
    return []


def _cut(draft: Sequence[int], ends: Collection[int]) -> list[int]:
    stop = next((at for at, token in enumerate(draft) if token in ends), len(draft))
    return list(draft[:stop])
