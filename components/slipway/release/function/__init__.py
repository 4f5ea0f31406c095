"""The release function: only it deploys a service.

It brings the service to its release state, in as many invocations as necessary. Each invocation does the same, no
matter who invokes it and how often: it compares the actual state with the desired state, and takes one step.
"""
