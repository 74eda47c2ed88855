"""Reads an output for an export: which rows, what files they are named as, and their regions, in bounded memory.

Begin with `selection`; it needs `storage` and the hashes of `tables`.
"""
