"""Hands an output's tables on in the formats of other tools: streamed, complete or not there, the same bytes each time.

Begin with `export`; `selection` reads the tables, `categories` numbers the labels, `outlines` turns masks to polygons,
`target` makes a folder appear whole. A format is a module of `formats/` with a class that `export` names.
"""
