"""From what the user names to a network that runs: backend, file, classes, size; decided once."""
