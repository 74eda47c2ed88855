"""What keeps an output small over hundreds of runs; promises that readers miss nothing and see nothing twice.

It needs the output's lock. Begin with `compact`.
"""
