"""What this machine can run and measure: facts are read, then judged; each check is a line with its remedy."""
