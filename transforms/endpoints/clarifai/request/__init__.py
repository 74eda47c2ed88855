"""Builds the bytes of requests from inputs: binds the method's arguments, encodes them, frames them without copies.

Begin with `binding` (a method and a job's arguments, checked before any call) and `wire` (the bytes of a call).
"""
