"""Compares two outputs over the same inputs: where two models, versions or prompts disagree, and by how much.

`pairs` joins the rows, `agreement` counts labels and scores, `shapes` matches masks and boxes, `comparison` puts
the figures together, and `page` draws them with pictures side by side.
"""
