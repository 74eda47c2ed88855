"""How fast calls may start: limits of one process, of a fixed fleet, and of any fleet through Redis.

No one-second window ever holds more than the configured limit; a limit that is not configured is learned from
refusals. Begin with `limiter`, which says what a limit is; `choose` picks the one that a job asks for.
"""
