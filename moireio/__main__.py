"""``python -m moireio COMMAND``."""

import os
import sys

if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.path.abspath(".")):
    # Python puts the current folder first: a numpy.py that lies there is not meant.
    del sys.path[0]

if __name__ == "__main__":
    from moireio.runtime.signals import end_on_signals

    with end_on_signals():
        from importlib import import_module

        # The commands lie above the library; only this entry point reaches up to them.
        import_module("moireio.tools.main").main()
