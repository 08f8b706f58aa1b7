"""Batch runs: a flow over the lines of a data set, kept in a folder that survives a kill.

`prepare.prepare` writes what every line is given, `engine.execute` runs the lines and keeps each
result, `finish.finish` puts the files in order; `folder` is where all of it stands and `store` the
runs of a home.
"""
