import pytest


def pytest_configure(config: pytest.Config) -> None:
    # The SDK's own modules warn about each other on import.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:pulumi_aws.*")
