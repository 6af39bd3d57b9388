"""``mini_speech``: a small corpus of synthetic speech, made offline; the default of the recipes.

Spelled letters, digits and short commands, spoken by espeak-ng in many voices, with noise. Made to
be learnt in minutes on a CPU; its word error rates say nothing about real speech. The voices of
train, dev and test are disjoint. The same seed gives the same samples on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from espnet2_supernet.data.audio import resample, write_audio
from espnet2_supernet.data.datadir import DataDir
from espnet2_supernet.data.espeak import Prosody, Synthesiser
from espnet2_supernet.data.files import write_lines
from espnet2_supernet.data.parallel import parallel_map
from espnet2_supernet.errors import DataError

FS = 16000
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
COMMANDS = tuple(
    "YES NO GO STOP LEFT RIGHT UP DOWN START ENTER ERASE HELP REPEAT OPEN CLOSE".split()
)


def _voices(language: str, variants: str) -> tuple[tuple[str, str], ...]:
    return tuple((language, variant) for variant in variants.split())


_US, _NYC, _RP = "en-us", "en-us-nyc", "en-gb-x-rp"
VOICES: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        *_voices(_US, "m1 m3 m5 m7 f1 f3 f4 Andy Annie Alicia Gene Lee linda max steph Michael"),
        *_voices(_NYC, "m8 f1"),
        *_voices(_RP, "m3 f4"),
    ),
    "dev": _voices(_US, "m4 f5 Mike Andrea"),
    "test": (*_voices(_US, "m2 f2 Denis belinda"), *_voices(_NYC, "m6")),
}
# Changes whenever the same seed would give other audio: old folders are then made anew.
RECIPE_VERSION = 1


@dataclass(frozen=True)
class Utterance:
    """One utterance of the plan: its words and everything that shapes its sound."""

    key: str
    words: tuple[str, ...]
    prosody: Prosody
    lead: float
    tail: float
    snr: float
    peak: float
    noise_seed: int


@dataclass(frozen=True)
class Speaker:
    """One voice and its utterances, in the order they are spoken."""

    name: str
    voice: str
    seed: int
    folder: str
    utterances: tuple[Utterance, ...]

    @property
    def digest(self) -> str:
        """Fingerprint of all that decides the audio."""
        content = {**asdict(self), "folder": "", "version": RECIPE_VERSION}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def deal(words: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Give words without end, each equally often: a shuffled deck, shuffled anew when empty."""
    while True:
        yield from rng.sample(words, len(words))


def draw_words(rng: random.Random, decks: Mapping[str, Iterator[str]]) -> tuple[str, ...]:
    """Draw a text: 2-4 letters, 2-5 digits, 1-3 commands, or a command with letters or digits."""

    def take(kind: str, number: int) -> list[str]:
        return [next(decks[kind]) for _ in range(number)]

    kind = rng.choices(("letters", "digits", "commands", "mixed"), weights=(3, 3, 2, 3))[0]
    if kind == "letters":
        return tuple(take("letters", rng.randint(2, 4)))
    if kind == "digits":
        return tuple(take("digits", rng.randint(2, 5)))
    if kind == "commands":
        return tuple(take("commands", rng.randint(1, 3)))
    rest = take(rng.choice(("letters", "digits")), rng.randint(1, 3))
    return (*take("commands", 1), *rest)


def spoken(words: Sequence[str]) -> str:
    """Write a text as espeak-ng should read it.

    The letter A is given in phonemes: between words espeak-ng takes it for the article.
    """
    return " ".join("[['eI]]" if w == "A" else w if w in LETTERS else w.lower() for w in words)


def plan_split(split: str, number: int, seed: int, audio_dir: str | Path) -> list[Speaker]:
    """Decide what each voice of a split says, and how.

    Args:
        split: ``train``, ``dev`` or ``test``.
        number: Utterances, dealt out evenly to the voices.
        seed: Seed of the corpus.
        audio_dir: Folder of the corpus.
    """
    rng = random.Random(f"mini_speech {seed} {split}")
    decks = {
        name: deal(words, rng)
        for name, words in (("letters", LETTERS), ("digits", DIGITS), ("commands", COMMANDS))
    }
    voices = VOICES[split]
    speakers = []
    for i, (language, variant) in enumerate(voices):
        name = f"{language.removeprefix('en-').replace('-', '_')}_{variant}".lower()
        count = number // len(voices) + (i < number % len(voices))
        utterances = tuple(
            Utterance(
                key=f"{name}-{j:04d}",
                words=draw_words(rng, decks),
                prosody=Prosody(
                    rng.randint(150, 210),
                    rng.randint(35, 65),
                    rng.randint(35, 65),
                    rng.randint(0, 6),
                ),
                lead=round(rng.uniform(0.10, 0.25), 3),
                tail=round(rng.uniform(0.15, 0.30), 3),
                snr=round(rng.uniform(15.0, 35.0), 2),
                peak=round(rng.uniform(0.2, 0.8), 3),
                noise_seed=rng.getrandbits(32),
            )
            for j in range(count)
        )
        if utterances:
            folder = str(Path(audio_dir).resolve() / split / name)
            speakers.append(
                Speaker(name, f"{language}+{variant}", rng.getrandbits(31), folder, utterances)
            )
    return speakers


def mix_noise(speech: np.ndarray, utterance: Utterance) -> np.ndarray:
    """Add silence at both ends, then white and low-pass noise at the planned ratio.

    Args:
        speech: Waveform ``(N,)`` at :data:`FS`.
        utterance: Silences in seconds, ratio in dB, peak.

    Returns:
        Waveform ``(M,)``, M > N, float32.
    """
    from scipy.signal import lfilter

    padded = np.pad(speech, (int(utterance.lead * FS), int(utterance.tail * FS)))
    rng = np.random.Generator(np.random.PCG64(utterance.noise_seed))
    white = rng.standard_normal(len(padded))
    low = lfilter([1.0], [1.0, -0.95], rng.standard_normal(len(padded)))
    share = rng.uniform()
    noise = share * white + (1.0 - share) * low / max(float(np.std(low)), 1e-9)
    power = float(np.mean(speech.astype(np.float64) ** 2))
    wanted = power / 10.0 ** (utterance.snr / 10.0)
    mixed = padded + noise * np.sqrt(wanted / float(np.mean(noise**2)))
    return (mixed * (utterance.peak / float(np.max(np.abs(mixed))))).astype(np.float32)


def trim(samples: np.ndarray, threshold: float = 1e-3) -> np.ndarray:
    """Cut the silence that espeak-ng adds at both ends."""
    loud = np.flatnonzero(np.abs(samples) > threshold)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def synthesise_speaker(speaker: Speaker) -> int:
    """Write the audio of one voice.

    Args:
        speaker: The plan; nothing is done if its audio is already there.

    Returns:
        Number of utterances written now.
    """
    folder = Path(speaker.folder)
    done = folder / ".complete"
    paths = {u.key: folder / f"{u.key}.flac" for u in speaker.utterances}
    if done.exists() and done.read_text().strip() == speaker.digest:
        if all(path.exists() for path in paths.values()):
            return 0
    folder.mkdir(parents=True, exist_ok=True)
    synthesiser = Synthesiser(speaker.seed, folder)
    for utterance in speaker.utterances:
        speech = synthesiser.say(spoken(utterance.words), speaker.voice, utterance.prosody)
        speech = resample(trim(speech), synthesiser.fs, FS)
        write_audio(paths[utterance.key], mix_noise(speech, utterance), FS)
    write_lines(done, [speaker.digest])
    return len(speaker.utterances)


def prepare_mini_speech(
    audio_dir: str | Path, sizes: Mapping[str, int], seed: int = 0, nj: int = 1
) -> dict[str, DataDir]:
    """Make the corpus.

    Args:
        audio_dir: Folder for the FLAC files (16 kHz, mono, 16 bit).
        sizes: Number of utterances of ``train``, ``dev`` and ``test``.
        seed: Seed of texts, voices and noise.
        nj: Number of processes.

    Returns:
        A data directory for each split.

    Raises:
        DataError: If a split is unknown or espeak-ng cannot be used.
    """
    unknown = sorted(set(sizes) - set(VOICES))
    if unknown:
        raise DataError(f"no split '{unknown[0]}'; splits: {', '.join(VOICES)}")
    plans = {split: plan_split(split, sizes[split], seed, audio_dir) for split in sizes}
    speakers = [speaker for plan in plans.values() for speaker in plan]
    for _ in parallel_map(synthesise_speaker, speakers, nj, "mini_speech", "voice"):
        pass
    return {split: _to_data_dir(plan) for split, plan in plans.items()}


def _to_data_dir(plan: Sequence[Speaker]) -> DataDir:
    """Describe planned utterances as a data directory."""
    data = DataDir()
    for speaker in plan:
        for utterance in speaker.utterances:
            data.wav[utterance.key] = str(Path(speaker.folder) / f"{utterance.key}.flac")
            data.text[utterance.key] = " ".join(utterance.words)
            data.utt2spk[utterance.key] = speaker.name
    return data
