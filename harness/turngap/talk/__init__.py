"""`turngap talk`: a person talks to the agent by this computer's microphone and loudspeaker."""
