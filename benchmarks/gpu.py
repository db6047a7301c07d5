"""All that is measured on a GPU, within a budget of minutes; begun again, it goes on.

python benchmarks/gpu.py [--minutes 10] [--output gpu.jsonl] [--data-dir data] [--device cuda]

The tests that need a GPU; the workloads of engine.py as shares of measured peaks, in float32 and
TF32; a step of SimCLR and one of an M-GAN at the paper's size; a harvest. Each part is a process of
its own. What it printed is appended to the output at once, so that a part is not run twice, and the
table for docs/performance.md is printed at the end from what is there. ``--device cpu`` tries the
script where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A command and the minutes that it may take.

    Attributes:
        script: after ``python``.
        minutes: after which it is stopped.
        rows: beginnings of the printed lines that go into the table.
        images: it reads image sets.
    """

    script: tuple[str, ...]
    minutes: float
    rows: tuple[str, ...]
    images: bool = False


def parts(device: str) -> dict[str, Part]:
    """Every part by name, the ones that matter most first."""
    on = ("--device", device)
    engine = ("benchmarks/engine.py", "--repeat", "3", *on)
    training = ("benchmarks/training.py", "--steps", "20", *on)
    workloads = {
        f"{name}, {products}": Part((*engine, name, *option), 1.5, (f"| {name} ", "torch "))
        for name in ("W1", "W1e", "W2", "W3", "W5")
        for products, option in (("float32", ()), ("TF32", ("--tf32",)))
    }
    tests = ("-m", "pytest", "-q", "-n", "0", "-m", "gpu", "tests")
    return {
        "tests": Part(tests, 3, tuple("0123456789")),
        **workloads,
        "two networks": Part((*engine, "W4"), 1.5, ("| W4 ",)),
        "SimCLR": Part((*training, "simclr"), 2, ("simclr",), images=True),
        "M-GAN, paper": Part((*training, "mgan", "--preset", "paper"), 2, ("mgan",), images=True),
        "harvest": Part(("benchmarks/harvest.py", *on), 2, ("forward", "plain", "harvest")),
    }


def known(output: Path) -> dict[str, dict[str, Any]]:
    """The parts that were run to their end, by name."""
    if not output.exists():
        return {}
    records = map(json.loads, output.read_text(encoding="utf-8").splitlines())
    return {each["part"]: each for each in records if each["code"] == 0}


def run(name: str, part: Part, seconds: float, data_dir: Path | None) -> dict[str, Any]:
    """Run a part for so many seconds at most."""
    images = ("--data-dir", str(data_dir)) if part.images and data_dir is not None else ()
    command = [sys.executable, *part.script, *images]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
        code, said = done.returncode, done.stdout + done.stderr[-2000:]
    except subprocess.TimeoutExpired:
        code, said = 124, f"stopped after {seconds:.0f} s"
    took = round(time.perf_counter() - started, 1)
    return {"part": name, "code": code, "seconds": took, "said": said}


def rows(record: dict[str, Any], part: Part) -> list[str]:
    """The lines of a part that go into the table."""
    lines = record["said"].splitlines()
    if record["code"]:
        return [lines[-1] if lines else "failed without a word"]
    return [line for line in lines if line.startswith(part.rows)][-4:]


def main() -> None:
    """Run what is left, and print the table; exit status 1 if a part failed or is left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--output", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--only", nargs="+", help="parts, by name")
    given = parser.parse_args()
    ends = time.monotonic() + 60 * given.minutes
    every = parts(given.device)
    if unknown := set(given.only or ()) - set(every):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; try {', '.join(every)}")
    chosen = {name: every[name] for name in given.only or every}
    found = known(given.output)
    for name, part in chosen.items():
        left = ends - time.monotonic()
        if name in found or left < 10:
            continue
        record = run(name, part, min(left, 60 * part.minutes), given.data_dir)
        with given.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        found[name] = record
        print(f"{name}: {record['seconds']} s", *rows(record, part), sep="\n  ", flush=True)
    print("\n| part | |", "|---|---|", sep="\n")
    for name, part in chosen.items():
        said = rows(found[name], part) if name in found else ["not run"]
        print(f"| {name} | {'<br>'.join(' '.join(each.split('|')).strip() for each in said)} |")
    sys.exit(any(name not in found or found[name]["code"] for name in chosen))


if __name__ == "__main__":
    main()
