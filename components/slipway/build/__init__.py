"""The build of an image from a commit: the CodeBuild project and its script."""
