"""The release function: the only thing that deploys a service.

It makes the service what its release state says, with as many calls as that takes. Whoever calls it, and however often,
it does the same: it looks at what is, compares it with what should be, and takes one step.
"""
