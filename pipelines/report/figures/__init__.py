"""The figures of a report: each is counted over batches of rows, and says the DuckDB query that gives the same."""
