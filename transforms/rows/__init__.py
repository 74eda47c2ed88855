"""Arrow: the schemas of the three tables, columns that grow by value, masks as RLE, and the builder of all rows.

What an answer holds is written by its endpoint's reader (`answer_reader`); everything that all answers share is
written here. Needs the ground only; begin with `schemas` and `table_builder`.
"""
