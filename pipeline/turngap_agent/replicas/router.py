"""Which replica serves a call: always the same one, and after its death another one for the rest of the call."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import TypeVar

Replica = TypeVar("Replica", bound=Hashable)


def rank_replicas(session: str, replicas: Iterable[Replica]) -> list[Replica]:
    """Return the replicas, the one that serves the session first (rendezvous hashing).

    The order of two replicas does not depend on the others: when one dies only its own sessions move, each to its next
    replica, and one that is added takes over its share alone. D. Thaler, C. Ravishankar: A Name-Based Mapping Scheme
    for Rendezvous, 1996.
    """
    return sorted(replicas, key=lambda replica: _weigh(session, replica), reverse=True)


def _weigh(session: str, replica: Hashable) -> bytes:
    return hashlib.blake2b(f"{session}\0{replica}".encode(), digest_size=8).digest()
