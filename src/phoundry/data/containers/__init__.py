"""How a source is written: JSON lines, one JSON document, CSV, TSV, Parquet; plain, gzip or zstd.

Each module yields records: the line of the source at which a row begins (of Parquet, the row's
number) and the row's value, or the `BadRow` that it is. Nothing is held but one row and a buffer.
"""
