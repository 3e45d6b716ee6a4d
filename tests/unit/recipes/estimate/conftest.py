"""What tests of estimates share."""

import pytest

from recipes.estimate import kernels


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with flash-attention."""
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)


@pytest.fixture(params=[True, False], ids=["flash-attention", "without"])
def with_and_without_flash_attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: request.param)
