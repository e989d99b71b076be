"""The agent under test: a self-hosted phone voice agent that speaks Twilio Media Streams.

It knows nothing of the instrument (`turngap`), which imports of it only `telephony` (wire messages, μ-law), `tracing`
(stages, span names, injected delays), `profile`, `documents` and `errors`.
"""
