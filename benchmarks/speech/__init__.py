"""What CSM takes on this machine, part by part, and beside a language model."""
