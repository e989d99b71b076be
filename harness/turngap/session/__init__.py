"""One session: what is to be measured, the processes it needs, its calls, and the run folder it writes or resumes."""
