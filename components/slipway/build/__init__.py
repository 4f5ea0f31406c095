"""From a commit to an image: the CodeBuild project, and the script that it runs."""
