"""Real servers and small helpers shared by the tests."""
