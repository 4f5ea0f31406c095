"""What runs on AWS: the build script."""
