"""One run, from the request to the verdict: calls in lanes, each settled as it ends."""
