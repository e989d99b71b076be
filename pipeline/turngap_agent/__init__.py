"""The agent under test: a self-hosted phone voice agent, Twilio Media Streams in and out.

It knows nothing of the instrument (`harness`). The door between them: `telephony` (wire messages, μ-law),
`tracing` (stage and span names), `profile` (with `documents`) and `errors`.
"""
