"""The local stack, `python -m stack`: the same as `tkb stack`."""

from cli.main import run

if __name__ == "__main__":
    run("stack", "python -m stack")
