"""What the gateway costs, beside the bare replica and LiteLLM's proxy."""
