"""Starts a supernet from a published wav2vec 2.0 model.

    python -m espnet2_supernet.bin.import_hugging_face --model_dir downloads/wav2vec2-base \
        --config conf/train_ssl_base_waveform.yaml --output_dir exp/ssl_wav2vec2_base

The folder is read as it is, nothing is downloaded. The configuration is one of ``ssl_train``; it
says which subnets there are, and has to describe the published model. Recognition starts from the
result with ``--ssl_model_file``, further pre-training with ``--init_param``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser, read_yaml
from espnet2_supernet.errors import ConfigError


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser(
        "import_hugging_face", "Write a published wav2vec 2.0 model as a pre-trained supernet."
    )
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument(
        "--model_dir",
        type=Path,
        required=True,
        help="Folder with config.json and model.safetensors or pytorch_model.bin",
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="Configuration of ssl_train, with supernet_conf"
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="Folder to write")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Import a model.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        ConfigError: If the configuration does not describe the published model.
        CheckpointError: If a file cannot be read or written.
    """
    args = get_parser().parse_args(cmd)
    if not isinstance(read_yaml(args.config), dict):
        raise ConfigError(f"--config {args.config}: a mapping of options is expected; is it empty?")
    from espnet2_supernet.tasks.importing import import_hugging_face
    from espnet2_supernet.tasks.ssl import SupernetSSLTask

    options = SupernetSSLTask.get_parser().parse_args(
        ["--config", str(args.config), "--output_dir", str(args.output_dir)]
    )
    done = import_hugging_face(options, args.model_dir)
    print(
        f"{done['file']}: {done['taken']} tensors of {done['source']}; "
        f"dropped: {', '.join(done['dropped']) or 'none'}; "
        f"random: {', '.join(done['random']) or 'none'}"
    )


if __name__ == "__main__":
    run_main(main)
