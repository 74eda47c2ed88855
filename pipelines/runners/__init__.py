"""Turns the `runner` section of a job file into a Beam runner: options, checks, job servers, the worker pool.

Begin with `options`; `checks` finds what a runner lacks before the job starts.
"""
