"""What a flow may say beyond Prompt flow: retry, timeout, fallback, cache, foreach, sub-flows,
richer conditions, the environment. A flow without these keys pays nothing for them."""
