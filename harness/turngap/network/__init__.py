"""What a network does to a call: delay, jitter, bursts, stalls, loss, doubles, a broken connection; seeded, by name.

Everything here is pure: a `Path` is told when a message was sent and says when it arrives.
"""

from turngap.network.path import Path
from turngap.network.profile import CLEAN, Burst, Direction, NetworkProfile, Stall, load, names

__all__ = ["CLEAN", "Burst", "Direction", "NetworkProfile", "Path", "Stall", "load", "names"]
