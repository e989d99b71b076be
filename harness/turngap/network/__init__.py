"""What a simulated network does to a call: delay, jitter, bursts, stalls, loss, duplicates, a broken connection.

Everything here is pure and seeded: a `NetworkPath` maps the time at which a message is sent to its arrival time.
"""

from turngap.network.path import NetworkPath
from turngap.network.profile import CLEAN, Burst, Direction, NetworkProfile, Stall, list_networks, load_network

__all__ = ["CLEAN", "Burst", "Direction", "NetworkPath", "NetworkProfile", "Stall", "list_networks", "load_network"]
