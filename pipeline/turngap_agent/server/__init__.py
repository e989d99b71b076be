"""The agent as a web server: Twilio's webhook and Media Streams socket, health, metrics."""
