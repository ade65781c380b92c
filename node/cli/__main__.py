"""``python -m node.cli``: the same as ``anchorline``."""

from node.cli import main

main()
