"""What only the notebooks need: runs, sweeps of runs, figures, widgets, the papers' tables, the lessons' helpers."""
