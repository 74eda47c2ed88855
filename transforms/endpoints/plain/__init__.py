"""Turns answers that are plain values (texts, numbers, arrays, dicts) into values of columns, and these into rows."""
