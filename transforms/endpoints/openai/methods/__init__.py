"""The methods of the API: each binds a job's arguments to a call, and reads its answers.

Begin with `asked`, then `chat`; `METHODS` has them all by the names that a job gives them.
"""
