"""What the operating system and the interpreter give: time, threads, signals."""
