"""The process that the user's Python runs in. `python -m phoundry.flows.session` is the child;
`host.FlowSession` starts it and speaks with it."""
