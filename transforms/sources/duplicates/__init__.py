"""Identical content is sent and paid once: equal inputs become aliases of one of them."""
