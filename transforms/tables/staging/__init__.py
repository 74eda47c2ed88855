"""Makes rows durable while calls go on: within two seconds as segments, then as parts that a commit makes visible.

Begin with `part_writer`; `segment` and `part` are the two kinds of files, and what is in them.
"""
