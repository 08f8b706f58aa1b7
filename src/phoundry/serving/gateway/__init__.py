"""The gateway: authenticates, picks a deployment, relays. Keeps serving without a control plane."""
