"""Fault injection, for tests: known delays in any stage, and faults of engines that single calls ask for.

It works with any profile: delays and faults are around the engines, never in them.
"""

from turngap_agent.inject.delays import DelayLine, Injection

__all__ = ["DelayLine", "Injection"]
