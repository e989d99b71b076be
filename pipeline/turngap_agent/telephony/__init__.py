"""The wire format of a telephone call: Twilio Media Streams messages, μ-law, frames, TwiML and signatures."""

SAMPLE_RATE = 8000
"""Samples a second, each one μ-law byte."""
FRAME_MS = 20
FRAME_SAMPLES = 160
FRAME_NS = 20_000_000
MEDIA_PATH = "/twilio/media"
"""The path of the agent's WebSocket."""
VOICE_PATH = "/twilio/voice"
"""The path of Twilio's voice webhook, answered with TwiML."""
