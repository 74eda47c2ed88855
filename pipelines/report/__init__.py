"""Writes one offline HTML page about an output: failures first, figures, and sample pictures with what was found.

It reads the tables in batches, and of the source the content of the sample alone. All text goes through
`markup`, which escapes it. Begin with `report`; `figures/` counts, `pictures/` draws, `page` puts it together.
"""
