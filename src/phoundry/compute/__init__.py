"""Worker processes and what the machine has."""
