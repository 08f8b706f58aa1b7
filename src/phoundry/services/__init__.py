"""Rules, transactions and authorisation: one noun a file. The only writers of the store."""
