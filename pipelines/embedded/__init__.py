"""A model server of our own on this machine: the model API with small real models, for first runs and tests.

It needs the `demo` extra and of the product nothing but `bulkinfer.transforms.errors`, so it could be a package of its
own. Begin with `server` (its process and its end) and `servicer` (the API's calls).
"""
