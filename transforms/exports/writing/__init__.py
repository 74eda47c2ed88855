"""Writes an export: a folder that appears whole, and JSON and XML item by item."""
