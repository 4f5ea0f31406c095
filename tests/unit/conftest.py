import pytest


def pytest_configure(config: pytest.Config) -> None:
    # The SDK's own modules warn of each other as they are imported.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:pulumi_aws.*")
