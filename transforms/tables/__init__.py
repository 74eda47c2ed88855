"""Rows to tables, exactly once: staged parts, what is done already, partitions, files.

What is staged is durable before a bundle ends; what a reader sees is always complete. Needs `runs` and `rows`; begin
with `write_tables` (the transform) and `staging` (how parts come to be).
"""
