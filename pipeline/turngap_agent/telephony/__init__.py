"""What goes over the telephone line: Twilio Media Streams messages, μ-law, frames, TwiML and signatures."""

SAMPLE_RATE = 8000
"""Samples a second on the line, each one μ-law byte."""
FRAME_MS = 20
FRAME_SAMPLES = 160
FRAME_NS = 20_000_000
MEDIA_PATH = "/twilio/media"
"""Where the agent's WebSocket is served."""
VOICE_PATH = "/twilio/voice"
"""Where Twilio's voice webhook is answered with TwiML."""
