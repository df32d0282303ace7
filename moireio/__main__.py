"""``python -m moireio COMMAND``."""

from importlib import import_module

if __name__ == "__main__":
    # The commands lie above the library; only this entry point reaches up to them.
    import_module("moireio.tools.main").main()
