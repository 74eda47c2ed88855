"""Reads the arguments of a job file for every kind of endpoint: references, templates, structures with these inside.

`expressions` turns a job's values into sources, checked before any call; `sources` says what a source is for one input.
What a parameter takes, and how its value travels, is each kind's own.
"""
