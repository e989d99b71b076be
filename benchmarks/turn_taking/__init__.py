"""Turn taking on recorded speech, in audio time: turns with their pauses, what detectors say there, the bargain."""
