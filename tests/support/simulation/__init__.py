"""Deterministic simulation: processes, threads, clocks and a store in one thread, scheduled by a seed."""
