"""A stateful fake Twilio: REST API, webhooks and both media legs of a call; for tests and trials without an account."""
