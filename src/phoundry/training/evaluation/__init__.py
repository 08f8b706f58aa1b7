"""Looking at the model while it trains: how good it is, and when that is enough."""
