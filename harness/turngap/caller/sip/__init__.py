"""Calls over SIP: signalling by the library `aiosipua` (extra `sip`), RTP on a socket of our own for its times."""
