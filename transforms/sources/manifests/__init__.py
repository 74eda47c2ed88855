"""Manifests and tables: how CSV, TSV, JSON Lines and Parquet are cut into pieces and read row by row.

A broken line costs itself and never its neighbours; ids that come twice are found before the first call. A new format
is a module here and a line in `reading`, which is where to begin.
"""
