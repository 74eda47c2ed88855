"""Batches to answers, whatever the endpoint: batching, calls in flight, bisection, retries, rate limits.

Every input gets exactly one result, a prediction or a failure, and one bad input costs its batch a few more calls. An
endpoint is known by `endpoint` alone, the door; begin there, then `predict` (the transform) and `batch_sender` (one
batch).
"""
