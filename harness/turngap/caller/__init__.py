"""The simulated Twilio call: protocol, pacing, when to speak, what is heard."""
