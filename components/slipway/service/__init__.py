"""A service: its task definition, traffic, deployment and scaling."""
