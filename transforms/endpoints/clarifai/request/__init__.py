"""From an input to the bytes of a request: the method's arguments bound, encoded and framed without copies.

Begin with `binding` (a method and a job's arguments, checked before any call) and `wire` (the bytes of a call).
"""
