"""Staged parts to visible tables: planned, then carried out, safe to kill at any point and to repeat.

Begin with `commit` (the steps) and `plan` (what will become visible); `claim` keeps committers apart.
"""
