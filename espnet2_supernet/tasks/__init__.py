"""Tasks in ESPnet's shape; importing one registers our classes."""

from espnet2_supernet.compat import quiet

quiet()  # before any espnet2 module is imported; spawned workers import only this package
