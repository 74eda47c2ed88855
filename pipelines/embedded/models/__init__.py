"""The embedded server's models: segmentation, video tracking, images, audio and text, without any weights.

Begin with `demo`, which names the methods.
"""
