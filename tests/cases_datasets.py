"""Hostile cases of data sets."""
