"""Turns `Output` messages into rows: values, concepts, regions with their masks, text, tool calls.

Begin with `reader`, which is the endpoint's `AnswerReader`; `answers` gives an answer as JSON for `bulkinfer call`.
"""
