"""Calls a Python class or function in the worker itself: in threads, or in processes of its own.

Begin with `endpoint` (what a job calls) and `model` (one call of it); `answers` says what may come back.
"""
