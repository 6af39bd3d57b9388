"""Corpus preparation: data directories, audio checks, token lists; without torch and ESPnet."""
