"""What runs on AWS: the build script and the release function. Nothing here imports Pulumi."""
