"""Clarifai's V2 API over gRPC: addresses, credentials, signatures, statuses, and its side of the door.

`endpoint` is what the engine sees; `request` makes the bytes that are sent, `answer` makes rows of what comes back.
Begin with `endpoint`; how each status is treated stands in `statuses`.
"""
