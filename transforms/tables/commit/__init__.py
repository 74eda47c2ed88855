"""Makes staged parts visible as tables: plans the changes, then carries them out; safe to kill and to repeat.

Begin with `commit` (the steps) and `plan` (what will become visible); `claim` admits one committer at a time.
"""
