"""A service: what its tasks are made of, how they are reached, replaced and scaled."""
