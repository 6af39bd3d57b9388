"""What the subcommands of :mod:`espnet2_supernet.bin.data` do with their options."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from functools import partial
from pathlib import Path

from espnet2_supernet.data import an4 as an4_corpus
from espnet2_supernet.data import librispeech as librispeech_corpus
from espnet2_supernet.data.audio import AudioRules
from espnet2_supernet.data.datadir import DataDir, read_data_dir, write_data_dir
from espnet2_supernet.data.dump import (
    FormatOptions,
    audio_problem,
    check_sources,
    format_data_dir,
)
from espnet2_supernet.data.files import read_lines
from espnet2_supernet.data.filter import filter_data_dir
from espnet2_supernet.data.parallel import parallel_map
from espnet2_supernet.data.sets import combine as combine_data
from espnet2_supernet.data.sets import fraction_of_speakers
from espnet2_supernet.data.sets import subset as subset_data
from espnet2_supernet.data.tokens import (
    find_unknown,
    make_tokenizer,
    read_transcripts,
    train_bpe,
    train_char_list,
    train_word_list,
)
from espnet2_supernet.errors import DataError


def _report(path: str | Path, data: DataDir, fs: int | None = None) -> None:
    """Print the size of a set."""
    hours = ""
    if data.utt2num_samples and fs:
        hours = f", {sum(data.utt2num_samples.values()) / fs / 3600:.2f} h"
    speakers = len(set(data.utt2spk.values()))
    words = f"{data.num_words} words" if data.text else "audio only"
    print(f"{path}: {len(data)} utterances, {words}, {speakers} speakers{hours}")


def _write(path: str | Path, data: DataDir) -> None:
    write_data_dir(path, data)
    _report(path, data)


def download(args: Namespace) -> None:
    """Fetch and unpack a corpus."""
    from espnet2_supernet.data.download import download_an4, download_librispeech

    if args.corpus == "an4":
        if args.subset:
            raise DataError("--subset is for --corpus librispeech only")
        print(download_an4(args.out, args.remove_archive, args.url))
    else:
        if not args.subset:
            raise DataError("--corpus librispeech needs --subset, e.g. --subset train-clean-100")
        for subset_name in args.subset:
            print(download_librispeech(subset_name, args.out, args.remove_archive, args.url))


def an4(args: Namespace) -> None:
    """Prepare ``train_nodev``, ``train_dev`` and, if asked for, ``test``."""
    root = an4_corpus.find_an4_root(args.corpus, args.extract_dir)
    sets = an4_corpus.prepare_an4(root, test=args.test, partial=args.partial)
    for name, data in sets.items():
        _write(Path(args.out) / name, data)


def librispeech(args: Namespace) -> None:
    """Prepare subsets, with or without readers held out."""
    if bool(args.split_speakers) != bool(args.split_out):
        raise DataError("--split_speakers and --split_out go together")
    data = librispeech_corpus.prepare_librispeech(
        args.corpus, args.subset, args.partial, args.audio_only
    )
    if args.split_speakers:
        data, held_out = librispeech_corpus.split_readers(
            data, args.split_speakers, args.split_seed
        )
        _write(args.split_out, held_out)
    _write(args.out, data)


def mini_speech(args: Namespace) -> None:
    """Synthesise the default corpus."""
    from espnet2_supernet.data.mini_speech import prepare_mini_speech

    sizes = {"train": args.num_train, "dev": args.num_dev, "test": args.num_test}
    for name, data in prepare_mini_speech(args.audio_dir, sizes, args.seed, args.nj).items():
        _write(Path(args.out) / name, data)


def combine(args: Namespace) -> None:
    """Join data directories."""
    parts = [(path, read_data_dir(path, audio_only=args.audio_only)) for path in args.in_dirs]
    _write(args.out, combine_data(parts))


def subset(args: Namespace) -> None:
    """Select utterances: by place, from a list, or the same fraction of every speaker's."""
    data = read_data_dir(args.in_dir, audio_only=args.audio_only)
    if args.fraction:
        chosen = fraction_of_speakers(data, args.fraction, args.seed)
    elif args.utt_list:
        wanted = {line.strip() for line in read_lines(args.utt_list) if line.strip()}
        unknown = sorted(wanted - set(data.wav))
        if unknown:
            raise DataError(f"{args.utt_list}: '{unknown[0]}' is no utterance of {args.in_dir}")
        chosen = subset_data(data, lambda _, key: key in wanted)
    else:
        number = args.first or args.last
        if number > len(data):
            raise DataError(f"{args.in_dir}: {len(data)} utterances, {number} wanted")
        begin = 0 if args.first else len(data) - number
        chosen = subset_data(data, lambda i, _: begin <= i < begin + number)
    _write(args.out, chosen)


def validate(args: Namespace) -> None:
    """Check tables, and on request audio and tokens."""
    if args.audio_only and args.token_list:
        raise DataError("--token_list needs transcripts; leave out --audio_only true")
    for path in args.in_dirs:
        data = read_data_dir(path, args.allow_empty_text, args.audio_only)
        empty = [key for key, words in data.text.items() if not words]
        if empty:
            print(
                f"warning: {path}/text: {len(empty)} transcript(s) without words, e.g. "
                f"{empty[0]}; 'filter' drops them",
                file=sys.stderr,
            )
        if args.check_audio:
            _validate_audio(path, data, args)
        if args.token_list:
            _validate_tokens(path, data, args)
        _report(path, data, args.fs)


def _validate_audio(path: str, data: DataDir, args: Namespace) -> None:
    check_sources(data, Path(path) / "wav.scp")
    check = partial(audio_problem, rules=AudioRules(fs=args.fs))
    problems = parallel_map(check, list(data.wav.values()), args.nj, f"validate {path}")
    bad = {key: problem for key, problem in zip(data.wav, problems, strict=True) if problem}
    for key, problem in bad.items():
        print(f"{path}: utterance '{key}': {problem}", file=sys.stderr)
    if bad:
        raise DataError(f"{path}: {len(bad)} of {len(data)} utterances have bad audio (listed)")


def _validate_tokens(path: str, data: DataDir, args: Namespace) -> None:
    tokenize = make_tokenizer(args.token_type, args.bpemodel)
    unknown = find_unknown(data.text, args.token_list, tokenize)
    if not unknown:
        return
    counts = Counter(token for tokens in unknown.values() for token in tokens)
    some = ", ".join(f"'{token}' ({count})" for token, count in counts.most_common(10))
    message = (
        f"{path}/text: {len(unknown)} utterance(s), e.g. {next(iter(unknown))}, hold tokens that "
        f"{args.token_list} lacks: {some}"
    )
    if args.unknown == "error":
        raise DataError(message)
    print(f"warning: {message}; they become <unk>", file=sys.stderr)


def perturb_speed(args: Namespace) -> None:
    """Add copies at other speeds."""
    from espnet2_supernet.data.speed import perturb_data_dir

    data = perturb_data_dir(
        args.in_dir, args.out, args.factors, args.audio_dir, args.nj, args.audio_only
    )
    _report(args.out, data)


def format_audio(args: Namespace) -> None:
    """Write a dump directory."""
    rules = AudioRules(args.fs, args.resample, args.channel, args.max_duration)
    options = FormatOptions(rules, args.audio_format, args.max_skipped, args.nj, args.audio_only)
    data = format_data_dir(args.in_dir, args.out, options)
    _report(args.out, data, args.fs)
    skipped = Path(args.out) / "skipped.tsv"
    if skipped.stat().st_size:
        count = len(read_lines(skipped))
        print(f"warning: {count} bad utterance(s) skipped, see {skipped}", file=sys.stderr)


def filter_set(args: Namespace) -> None:
    """Drop utterances."""
    durations = (args.min_duration, args.max_duration)
    reasons = filter_data_dir(args.in_dir, args.out, *durations, args.fs, args.audio_only)
    _report(args.out, read_data_dir(args.out, audio_only=args.audio_only), args.fs)
    if reasons:
        print(f"{len(reasons)} utterance(s) dropped, see {Path(args.out) / 'filtered.tsv'}")


def tokens(args: Namespace) -> None:
    """Write a token list."""
    texts = read_transcripts(args.text)
    if args.token_type == "char":
        made = train_char_list(texts, args.out, args.nlsyms)
    elif args.token_type == "word":
        made = train_word_list(texts, args.out)
    else:
        made = train_bpe(
            texts, args.out, args.nbpe, args.bpemode, args.character_coverage, args.nlsyms
        )
    print(f"{Path(args.out) / 'tokens.txt'}: {len(made)} tokens from {len(texts)} transcripts")
