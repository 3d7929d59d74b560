"""What the command line needs of the terminal and the process: streams, progress, signals.

Importing it costs nothing of what `nas` needs for its work, so that `--help` answers at once.
"""
