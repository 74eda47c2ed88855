"""Sends batches to any endpoint and gives each input one result: batching, bisection, retries, rate limits.

A result is a prediction or a failure; one bad input costs its batch a few more calls. These modules know an endpoint
only by the protocols in `endpoint`; begin there, then read `predict` (the transform) and `batch_sender` (one batch).
"""
