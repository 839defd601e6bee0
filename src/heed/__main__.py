"""``python -m heed``: the program ``heed``, where its folder is not on the path."""

from heed.cli import main

main()
