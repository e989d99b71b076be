"""A stateful Twilio of our own: REST, webhooks and both media legs of a call; for tests, and for trying it at home."""
