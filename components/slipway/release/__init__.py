"""Releases of a service: the component, and the function that runs on AWS."""
