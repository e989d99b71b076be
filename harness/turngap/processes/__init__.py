"""The processes around a run (agent, span receiver, sampler), what they record, and the machine they run on."""
