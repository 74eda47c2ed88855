"""Kept columns: one type over all files and nights, and values that never change on their way into it.

Needs Arrow alone. A value that fits its column's type is kept as it is; a column whose files differ is widened without
loss, else its values become JSON text. Begin with `types`.
"""
