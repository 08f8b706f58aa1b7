"""`python -m phoundry.client.generate`: the asynchronous nouns, from the synchronous ones."""
