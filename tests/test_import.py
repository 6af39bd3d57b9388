import subprocess
import sys
import textwrap

import yaml


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
        import contextlib, io, os, sys
        os.environ["XDG_CACHE_HOME"] = {str(tmp_path)!r}
        os.environ.pop("NLTK_DATA", None)
        from espnet2_supernet.bin import asr_train
        help_text = io.StringIO()
        with contextlib.redirect_stdout(help_text), contextlib.suppress(SystemExit):
            asr_train.main(["--help"])
        assert "--supernet_conf" in help_text.getvalue()
        from espnet2_supernet.tasks.asr import SupernetASRTask
        sys.argv = ["asr_train"]
        assert SupernetASRTask.get_default_config()["encoder"] == "supernet_conformer"
        sys.argv = ["asr_train", "--print_config", "--encoder", "supernet_transformer"]
        asr_train.main()
        """
    )
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)  # nothing else may be on standard output
    assert config["encoder"] == "supernet_transformer"
    assert config["encoder_conf"]["num_blocks"] == 12
    assert config["model"] == "supernet" and config["frontend"] == "log_mel"
    assert config["supernet_conf"] == {}
    # ESPnet repeats the command line; nothing else may be on standard error
    lines = [line for line in done.stderr.splitlines() if sys.executable not in line]
    assert lines == []
    assert (tmp_path / "espnet2_supernet/nltk_data/corpora/cmudict.zip").exists()
