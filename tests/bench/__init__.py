"""What the components cost beside the same resources in plain pulumi_aws: `make bench`."""
