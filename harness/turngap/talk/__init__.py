"""Talking to the agent oneself, by this computer's microphone and loudspeaker: `turngap talk`."""
