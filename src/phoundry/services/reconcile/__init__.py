"""From desired to actual state: one noun a file, each with a `tick` that is short and repeatable.

A tick reads what the workers left in their folders, moves rows on, and starts or stops workers.
It may be cut off anywhere: the next one, perhaps in another process, goes on from the rows and
folders.
"""
