"""Bundles of tiny random models."""

from __future__ import annotations

import functools

import pytest


@pytest.fixture(scope="session")
def make_bundle(tiny_model):
    """Return a function that bundles a subnet of a tiny model, once for the same arguments."""

    @functools.cache
    def make(subnet="device", precision="fp32", context=None, **model):
        from espnet2_supernet.tasks import bundling

        # random masks of no schedule count as untrained
        origin = bundling.Origin("config", "model")
        return bundling.make_bundle(
            tiny_model(**model), subnet, context, precision, "char", origin, allow_untrained=True
        )

    return make


@pytest.fixture
def written(make_bundle, tmp_path):
    """The folder of a bundle with a small vocabulary of faults to be put in."""
    from espnet2_supernet.runtime.bundle import write_bundle

    folder = tmp_path / "bundle"
    folder.mkdir()
    write_bundle(folder, make_bundle())
    return folder
