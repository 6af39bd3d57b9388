"""What all commands share: --help, --print_config, errors of one line."""

import importlib
import warnings

import pytest
import yaml

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import given_config, read_yaml
from espnet2_supernet.errors import ConfigError, SupernetError

COMMANDS = {
    "asr_train": [],
    "asr_inference": [],
    "check_streaming": [],
    "average_checkpoints": [],
    "prune_extract": [],
    "bundle": [],
    "import_hugging_face": [],
    "score": [],
    "report": [],
    "data": ["format"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "--print_config"])
def test_help_and_print_config(name, option, capsys):
    command = importlib.import_module(f"espnet2_supernet.bin.{name}")
    with warnings.catch_warnings(), pytest.raises(SystemExit) as stop:
        warnings.simplefilter("error")
        command.main([*COMMANDS[name], option])
    assert stop.value.code == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err.lower() and "Traceback" not in printed.err
    if option == "--help":
        assert "default" in printed.out
    else:
        assert len(yaml.safe_load(printed.out)) >= 2


def test_a_message_is_one_line(capsys):
    def fail():
        raise SupernetError("first\n  second\n")

    with pytest.raises(SystemExit) as stop:
        run_main(fail)
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: first second\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .No such file"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: [1\n b: {", "not YAML"),
    ],
)
def test_config_files_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--config .*c.yaml: {message}"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="Is a directory"):
        read_yaml(tmp_path)


def test_the_config_of_a_command_line(tmp_path):
    assert given_config(["--subnet", "x", "--config", "c.yaml"]).name == "c.yaml"
    assert given_config(["--config=c.yaml"]).name == "c.yaml"
    assert given_config(["--subnet", "x"]) is None
