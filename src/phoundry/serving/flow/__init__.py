"""A flow behind an address: what answers `/score` in the process that runs the user's Python, the
page to chat on, what keeps that process alive, and the folder that runs by itself."""
