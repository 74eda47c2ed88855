"""The kinds of endpoint that can be called, one package each, behind the protocols of `calls.endpoint`.

Only an endpoint's own package knows its vendor's messages, statuses and client library.
"""
