"""Jobs, and all that talks to a person."""
