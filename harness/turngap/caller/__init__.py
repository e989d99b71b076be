"""The simulated Twilio call: protocol, pacing, when the caller speaks, what the caller hears."""
