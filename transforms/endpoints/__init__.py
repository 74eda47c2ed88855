"""The kinds of endpoint that can be called, each in a room of its own behind the door `calls.endpoint`.

Only an endpoint's room knows its vendor's messages, statuses and client library.
"""
