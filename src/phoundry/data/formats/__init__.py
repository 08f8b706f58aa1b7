"""What a row of the source looks like, and how it becomes a conversation or a preference pair.

`detect` looks at the first rows and finds the format and the columns; every other module is one
format: `converter(mapping)` gives the function that makes a canonical row of a row of the source.
"""
