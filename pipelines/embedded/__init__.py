"""A model server of our own on this machine: the model API with small real models, for first runs and tests.

It could be a package of its own: of the product it imports nothing but `errors`. Begin with `server` (its process and
its end) and `servicer` (the API's calls).
"""
