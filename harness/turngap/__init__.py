"""The instrument: places calls, listens as the caller does, and explains the turn gap.

It never shares an interpreter with what it measures; of `pipeline` it imports only the door: `telephony`, `tracing`,
`profile`, `documents` and `errors`.
"""
