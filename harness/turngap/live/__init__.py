"""The live smoke call: a real telephone call over Twilio, measured with one clock; safe by construction."""
