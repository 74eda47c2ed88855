"""From `runner` in a job file to Beam: options, checks, the local runner, job servers, the worker pool.

Begin with `options`; what a runner lacks is found in `checks` before the job starts.
"""
