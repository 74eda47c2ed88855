"""Hands an output's tables on in the formats of other tools: streamed, complete or not there, the same bytes each time.

Begin with `export`; `reading/` chooses rows, `categories` numbers the labels, `contents` has the pictures, `shapes/`
turns masks to polygons, `writing/` makes a folder appear whole. A format is a module of `formats/` with a class that
`export` names.
"""
