"""The documentation: its code runs, its commands parse, its walkthrough does what it shows."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import test_baselines as laws

from repsim import measures
from repsim.cli.main import cli, main
from repsim.discovery import import_all
from repsim.measures.registry import AFFINE, MEASURES
from repsim.training.compose import config_for
from repsim.training.methods import find_method, method_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of a page in some languages, as (number of the first line, text)."""
    text = text_of(page)
    for match in _FENCE.finditer(text):
        if match[1] in languages:
            yield text.count("\n", 0, match.start(2)) + 1, match[2]


def with_blocks(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(blocks(page, *languages))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def block_of(page: Path, opening: str) -> str:
    """The Python block of a page that begins so."""
    (found,) = (code for _, code in blocks(page, "python") if code.startswith(opening))
    return found


# Python


@pytest.fixture(autouse=True)
def measures_as_they_were() -> Iterator[None]:
    """The measures that pages define are forgotten again."""
    before = dict(MEASURES)
    yield
    MEASURES.clear()
    MEASURES.update(before)


@pytest.mark.parametrize("page", with_blocks("python"), ids=name_of)
def test_python_blocks_run_and_print_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page in one namespace; ``print(...)  # text`` must print the text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        expected = re.findall(r"^ *print\(.*\)  # (.+)$", code, re.MULTILINE)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # Without the future imports of this module, which the code does not have.
            shown = compile("\n" * (line - 1) + code, str(page), "exec", dont_inherit=True)
            exec(shown, namespace)
        if expected:
            assert printed.getvalue().splitlines() == expected


# Examples of CONTRIBUTING, each saved where it says


def test_the_measure_is_found_and_obeys_the_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    code = block_of(ROOT / "CONTRIBUTING.md", '"""Distance correlation')
    assert len(code.splitlines()) <= 45
    (tmp_path / "distance_correlation.py").write_text(code)
    monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "repsim.measures.distance_correlation", raising=False)
    import_all("repsim.measures")
    name = "distance-correlation"
    measure = MEASURES[name]
    for transform in laws.TRANSFORMS:
        laws.test_a_measure_stays_where_it_declares_so_and_moves_where_not(name, transform)
    laws.test_the_order_of_arguments_matters_where_declared_and_that_of_examples_never(name)
    laws.test_a_layer_is_most_like_itself(name, rng)
    laws.test_values_move_away_from_likeness_as_noise_grows(name, rng)
    laws.test_the_registry_is_coherent()
    wrong = replace(measure, name="wrong", invariances_y=AFFINE)
    monkeypatch.setitem(MEASURES, "wrong", wrong)
    with pytest.raises(AssertionError):
        laws.test_a_measure_stays_where_it_declares_so_and_moves_where_not("wrong", "invertible")


# Commands


def commands(page: Path) -> list[str]:
    """Every ``repsim ...`` command of a page: lines of bash blocks, ``$`` lines of console ones."""
    found = []
    for _, text in blocks(page, "bash", "sh"):
        found += text.replace("\\\n", " ").splitlines()
    for _, text in blocks(page, "console"):
        found += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    parts = [part.strip() for line in found for part in line.split("&&")]
    return [part for part in parts if part.split(" ")[0] == "repsim"]


def resolve(arguments: list[str]) -> tuple[click.Command, str, list[str]]:
    """The command that arguments name, its full name, and the arguments left to it."""
    command: click.Command = cli
    name, rest = "repsim", list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, known = f"{name} {rest[0]}", command
        found = known.get_command(click.Context(known), rest.pop(0))
        assert found is not None, f"there is no command {name!r}"
        command = found
    return command, name, rest


EVERY_COMMAND = [(page, command) for page in PAGES for command in dict.fromkeys(commands(page))]


@pytest.mark.parametrize(
    ("page", "command"),
    EVERY_COMMAND,
    ids=[f"{name_of(page)}: {command}" for page, command in EVERY_COMMAND],
)
def test_commands_parse(page: Path, command: str) -> None:
    found, name, rest = resolve(shlex.split(command, comments=True)[1:])
    if {"--help", "--version"} & set(rest):
        assert len(rest) == 1
    else:
        found.make_context(name, rest)


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for part in command.list_commands(context):
        inner = command.get_command(context, part)
        assert inner is not None
        yield from leaves(inner, f"{name} {part}")


LEAVES = dict(leaves(cli, "repsim"))
GROUPS = {" ".join(name.split()[:2]) for name in LEAVES} - set(LEAVES)


def section(page: str, heading: str) -> str:
    """The text under a heading, up to the next of its level or above."""
    text = text_of(ROOT / page)
    bare = _FENCE.sub(lambda block: " " * len(block[0]), text)  # a comment is no heading
    match = re.search(rf"^(#+) {re.escape(heading)}$", bare, re.MULTILINE)
    assert match is not None, f"{page} has no heading {heading!r}"
    end = re.compile(rf"^#{{1,{len(match[1])}}} ", re.MULTILINE).search(bare, match.end())
    return text[match.end() : end.start() if end else None]


@pytest.mark.parametrize("name", [*sorted(GROUPS), *LEAVES])
def test_the_help_of_a_command_begins_with_an_example(name: str) -> None:
    command, _, _ = resolve(name.split()[1:])
    lines = (command.help or "").replace("\b", "").strip().splitlines()
    assert lines, f"{name} has no help"
    assert lines[0].strip().startswith(name)


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_and_all_its_options_are_in_cli_md(name: str) -> None:
    page = "docs/cli.md"
    own = section(page, name)
    assert any(line.strip().startswith(name) for line in own.splitlines()), "it has no example"
    shared = section(page, "Options that several commands share")
    if name.startswith("repsim train "):
        shared += section(page, "repsim train").split("\n### ")[0]
    documented = set(re.findall(r"`(--?[a-z0-9-]+)", own + shared))
    options = {
        option
        for parameter in LEAVES[name].params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }
    assert options - documented == set()


@pytest.mark.parametrize("method", method_names())
def test_the_settings_of_a_method_are_in_papers_md_with_their_defaults(method: str) -> None:
    own = section("docs/papers.md", f"`{method}`")
    common = section("docs/papers.md", "All methods")
    network = section("docs/papers.md", f"The network `{find_method(method).network}`")
    for name, field in config_for(method).model_fields.items():
        row = f"| `{name}` | {field.default} |"
        pages = (own, common, network)
        assert any(row in page for page in pages), f"{method} has no row that begins {row}"


# The walkthrough


def fixed_part(line: str) -> str:
    """A line up to its first decimal fraction, or without its count: the rest may differ between
    machines."""
    line = re.sub(r"^\d+( of \d+ layers)", r"some\1", line)
    return " ".join(re.split(r"-?\d+\.\d+(?![\w.-])", line)[0].split())


def session(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Commands of a page's console blocks, each with the lines that it shows."""
    for _, text in blocks(page, "console"):
        for part in ("\n" + text).split("\n$ ")[1:]:
            command, *lines = part.splitlines()
            yield command, [line for line in lines if re.search(r"\w", line)]


@pytest.mark.slow
def test_the_quickstart_does_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line shown is printed, in order, up to its first decimal fraction."""
    monkeypatch.chdir(tmp_path)
    for variable in ("REPSIM_RUNS", "REPSIM_DATA"):
        monkeypatch.delenv(variable, raising=False)
    ran = 0
    for command, shown in session(ROOT / "docs" / "quickstart.md"):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert stop.value.code == 0, f"{command}: {err}"
        # On a terminal the two streams come in turns; here only the order within each is known.
        streams = [[fixed_part(line) for line in text.splitlines()] for text in (out, err)]
        at = [0, 0]
        for line in map(fixed_part, shown):
            for k, printed in enumerate(streams):
                if line in printed[at[k] :]:
                    at[k] = printed.index(line, at[k]) + 1
                    break
            else:
                pytest.fail(f"{command} does not print {line!r}, but:\n{out}\n{err}")
        for file in re.findall(r"^wrote (.+)$", "\n".join(shown), re.MULTILINE):
            assert (tmp_path / file).is_file()
        ran += 1
    assert ran >= 4
    made = {path.name for path in (tmp_path / "runs").iterdir()}
    assert made >= {"simclr", "supervised", "simclr-1", "supervised-1"}


# Links and words

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", text_of(page))
    for target in _LINK.findall(text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else page.parent / path
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text_of(file), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w\s-]", "", h).strip().lower().replace(" ", "-") for h in headings
            ]


def test_images_are_small_and_used() -> None:
    shown = {Path(target).name for page in PAGES for target in _LINK.findall(text_of(page))}
    for image in (ROOT / "docs" / "images").iterdir():
        assert image.stat().st_size < 300_000, f"{image.name} is too large"
        assert image.name in shown, f"{image.name} is on no page"


def files_of_the_project() -> list[Path]:
    """Files that git tracks or would; without git, all that no tool has made."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
        names = [Path(name) for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        made = ("build", "dist", "site", "runs", "results", "demo", "data")
        names = [
            name
            for name in (path.relative_to(ROOT) for path in ROOT.rglob("*"))
            if name.parts[0] not in made
            and not name.parts[0].startswith(".")
            and name.suffix != ".pyc"
        ]
    return [ROOT / name for name in names if name.parts[0] != ".ci" and (ROOT / name).is_file()]


def test_no_file_points_outside_the_project() -> None:
    words = [b"../" + b"shared", b"/wo" + b"rk/"]
    files = files_of_the_project()
    assert ROOT / "pyproject.toml" in files
    for path in files:
        content = path.read_bytes()
        for word in words:
            assert word not in content, f"{path.relative_to(ROOT)} has {word.decode()!r}"
