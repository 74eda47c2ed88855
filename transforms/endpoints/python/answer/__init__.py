"""Turns what a callable answers into values of columns, in the process that called it, and these into rows."""
