import pytest

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.subnet_sizes import read_sizes


def test_sizes(tmp_path):
    assert read_sizes(tmp_path / "subnets.json") == {}
    (tmp_path / "subnets.json").write_text('{"device": {"parameters": 3}}')
    with pytest.raises(DataError, match="'device' needs the numbers"):
        read_sizes(tmp_path / "subnets.json")
