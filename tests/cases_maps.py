"""Hostile cases of maps, of networks and of their files."""
