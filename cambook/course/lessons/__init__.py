"""What a single lesson needs, and the exercises' checks."""
