"""``python -m infbench`` is ``infbench``."""

from __future__ import annotations

from infbench.cli import main

if __name__ == "__main__":
    main()
