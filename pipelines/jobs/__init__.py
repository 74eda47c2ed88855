"""Runs jobs, from their checks to their summary; also `bulkinfer plan`, `call` and `methods`.

Begin with `bulk_inference`, which runs a job whole; `preflight` checks everything before anything is sent.
"""
