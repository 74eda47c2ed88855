"""What a job reads, up to references: patterns of files, manifests and tables, spread over the workers.

A source is checked before anything is read, and every file or row becomes a reference or a failure. Needs `storage`,
`runs` and `content`; begin with `source` (the checks) and `read_references` (the transform).
"""
