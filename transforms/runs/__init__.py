"""What the processes of one run tell each other: parts, the run's record, its lock, claims, stops, rebalancing.

Everything goes through small files beside the tables, so that launcher and workers need no other connection. Needs
`storage` and `job`; begin with `parts` (names and paths of all files) and `record` (what a run did).
"""
