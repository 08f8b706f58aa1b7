"""What a run leaves on the disk, so that it can go on as if nothing had happened."""
