"""Builds the three Arrow tables of a job: their schemas, columns that grow by value, masks as RLE, and all rows.

An endpoint's reader writes what its answers hold through `answer_rows` (AnswerReader, AnswerRows); what all answers
have in common is written here. Needs `errors` and `records` only; begin with `schemas` and `table_builder`.
"""
