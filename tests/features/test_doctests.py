import doctest
import importlib
import pkgutil

import pytest

import espnet2_supernet.features as package

INSIDE = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
MODULES = [package.__name__, *(module.name for module in INSIDE)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
