"""`python -m moorage`: the command, for when its script is not on the path."""

from moorage.cli import main

if __name__ == "__main__":
    main()
