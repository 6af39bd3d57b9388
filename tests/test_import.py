import subprocess
import sys
import textwrap


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )


def test_importing_the_package_loads_neither_torch_nor_espnet():
    done = run(
        """
        import sys
        import espnet2_supernet, espnet2_supernet.errors, espnet2_supernet.compat
        import espnet2_supernet.bin, espnet2_supernet.bin.asr_train
        heavy = [name for name in ("torch", "espnet", "espnet2", "numpy") if name in sys.modules]
        assert not heavy, heavy
        assert callable(espnet2_supernet.register) and espnet2_supernet.__version__
        """
    )
    assert done.returncode == 0, done.stderr


def test_start_up_is_quiet_and_help_and_print_config_work(tmp_path):
    # One process for all of it: importing ESPnet takes seconds.
    done = run(
        f"""
        import os, sys
        os.environ["XDG_CACHE_HOME"] = {str(tmp_path)!r}
        os.environ.pop("NLTK_DATA", None)
        import contextlib, io
        from espnet2_supernet.bin import asr_train
        help_text, config = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(help_text), contextlib.suppress(SystemExit):
            asr_train.main(["--help"])
        assert "--supernet_conf" in help_text.getvalue()
        sys.argv = ["asr_train", "--print_config"]
        with contextlib.redirect_stdout(config), contextlib.suppress(SystemExit):
            asr_train.main(["--print_config"])
        import yaml
        config = yaml.safe_load(config.getvalue())
        assert config["encoder"] == "supernet_conformer", config["encoder"]
        assert config["encoder_conf"]["num_blocks"] == 12
        assert config["model"] == "supernet" and config["frontend"] == "log_mel"
        sys.argv = ["asr_train"]
        from espnet2_supernet.tasks.asr import SupernetASRTask
        assert SupernetASRTask.get_default_config()["supernet_conf"] == {{}}
        assert not os.path.exists(os.path.expanduser("~/nltk_data/corpora/cmudict"))
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "--print_config" not in line]
    assert [line for line in lines if not line.startswith("/") and "-c" not in line] == [], lines
