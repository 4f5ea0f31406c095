"""The release function: the only thing that deploys a service.

It makes the service what its registers say, with as many calls as that takes, and whoever calls it, and however often,
it does the same: it compares what is with what is wanted, and acts on the difference.
"""
