"""Networks put to use on photographs outside a lesson: look at them, keep their maps, score maps, write boxes.

Each module is what one command does: `cambook look`, `maps`, `score`, `boxes` and `few-shot`.
"""
