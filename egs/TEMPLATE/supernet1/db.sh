# shellcheck shell=bash
# Where the corpora are. "downloads" means: fetch it into the recipe's downloads/ folder.
# Set a variable in the environment, or edit this file.
AN4=${AN4:-downloads}                 # an4_sphere.tar.gz (any .tar.gz of AN4), or the folder that holds an4/
LIBRISPEECH=${LIBRISPEECH:-downloads} # the folder that holds LibriSpeech/, or LibriSpeech/ itself
export AN4 LIBRISPEECH
