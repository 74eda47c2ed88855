"""What the embedded server computes: segmentation, video tracking, images, audio and text, without any weights.

Begin with `demo`, which names the methods.
"""
