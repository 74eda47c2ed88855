"""References to bytes: fetched ahead of the calls, checked, and never shuffled.

Every reference leaves as content or as a failure that says why; memory stays within a budget. Needs `storage` and
`runs`; begin with `load_content` (the transform) and `fetch` (one reference).
"""
