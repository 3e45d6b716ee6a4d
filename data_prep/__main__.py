"""Lists the data preparers: `python -m data_prep`.
Each one is a command of its own, e.g. `python -m data_prep.countdown --help`."""

PREPARERS = {
    "countdown": "combine numbers with + - * / to reach a target; generated, or imported from UFT's files or the hub",
}

if __name__ == "__main__":
    for name, about in PREPARERS.items():
        print(f"python -m data_prep.{name}  {about}")
