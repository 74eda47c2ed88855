"""Calls models behind Clarifai's V2 API over gRPC: addresses, credentials, signatures, statuses, calls.

`endpoint` is what the engine uses; `request` builds the bytes that are sent, `answer` turns what comes back into rows.
Begin with `endpoint`; `statuses` says how each status is treated.
"""
