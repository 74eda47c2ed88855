"""One directory on any fsspec store, and files on any other: opened, listed, written whole, and their faults told.

A file that is written is visible complete or not at all, on a local disk and on an object store. Needs the errors
only; begin with `store` (the output's directory) or `filesystems` (from a reference to its store).
"""
