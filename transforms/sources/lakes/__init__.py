"""Tables of Delta Lake and Apache Iceberg as sources, each at one snapshot: the data files that hold its rows.

`snapshot` begins here. What is no such table, or one of a format that is not read, `formats` tells from its folder.
"""
