import os
import zipfile

import pytest

from espnet2_supernet import compat


@pytest.mark.parametrize("name", sorted(compat._NAMES))
def test_every_name_is_found_in_the_installed_espnet(name):
    assert callable(getattr(compat, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        compat.no_such_name  # noqa: B018


def test_placeholders_come_after_the_users_own_nltk_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NLTK_DATA", "/users/own")
    monkeypatch.setattr(compat, "_NLTK_SYSTEM_DIRS", ())
    compat._prevent_nltk_download()
    own, cache = os.environ["NLTK_DATA"].split(os.pathsep)
    assert own == "/users/own" and cache.startswith(str(tmp_path))
    for name in compat._NLTK_FILES:
        assert zipfile.is_zipfile(os.path.join(cache, name))


def test_real_nltk_data_are_left_alone(tmp_path, monkeypatch):
    for name in compat._NLTK_FILES:
        compat._write_empty_zip(tmp_path / name)
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    compat._prevent_nltk_download()
    assert os.environ["NLTK_DATA"] == str(tmp_path)
