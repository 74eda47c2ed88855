"""How fast calls may start: limits of one process, of a fixed fleet, and of any fleet through Redis.

No one-second window ever holds more than the configured limit; one that nobody named is learned from refusals. Begin
with `limiter`, which says what a limit is and picks the one a job asks for.
"""
