"""What a replica answers, as the gateway asks it."""

CHAT = "/v1/chat/completions"
SCORE = "/score"
