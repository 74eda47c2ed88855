"""Masks as polygons: along the edges of pixels, with holes, and simpler where a person wants it."""
