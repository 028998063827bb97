"""Many tasks through one worker, whose memory, threads and file handles are looked at on the way."""
