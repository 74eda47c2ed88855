"""Sample pictures of a report: which rows are shown, their content from the source, and what is drawn over it."""
