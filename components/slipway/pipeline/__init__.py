"""A pipeline: where it takes its source from, and the stages that it goes through."""
