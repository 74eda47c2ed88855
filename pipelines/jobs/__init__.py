"""The jobs that a job file may ask for, from their checks to their summary; `plan`, `call` and `methods`.

Begin with `bulk_inference`, which wires the transforms; `preflight` is what is checked before anything is sent.
"""
