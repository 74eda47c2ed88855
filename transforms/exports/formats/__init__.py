"""The formats of an export, a module each: what it writes of rows, pictures and regions, and what it cannot say."""
