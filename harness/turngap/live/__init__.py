"""The live smoke call: a real telephone call over Twilio, measured on one clock, with limits that are always on."""
