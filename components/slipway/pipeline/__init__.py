"""A pipeline: its source and its stages."""
