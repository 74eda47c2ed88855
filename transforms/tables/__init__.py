"""Writes prediction, mask and error rows to Parquet tables exactly once, and knows which inputs are finished.

Rows are staged durably before a Beam bundle ends; a reader always sees complete tables. Needs `runs` and `rows`; begin
with `write_tables` (the transform), `staging` (how rows become durable) and `commit` (how they become visible).
"""
