"""Help texts whose options stand in groups."""

from __future__ import annotations

from collections.abc import Sequence

import click

#: Options by the group that they stand in; others are settings of the command itself.
_GROUPS = {
    "Networks": "a b runs model model_args weights name network statistics networks",
    "Images and texts": "data data_dir split splits test test_split image_size target normalise "
    "channels tokenizer max_length verify ids labels base_url",
    "Layers": "layers layers_a layers_b pooling masks dtype batch_axis",
    "Settings": "",
    "Computing": "device devices memory batch_size jobs workers precision",
    "Figures": "style width font formats rename limits",
    "Output": "output estimator page compression dry_run print_config resume overwrite "
    "as_json full",
}

#: Commands with fewer options have one list of them.
_FEW = 8


class Grouped(click.Command):
    """A command whose help has its options in groups, in one order for all commands."""

    def group_of(self, option: click.Parameter) -> str:
        """The heading that an option stands under."""
        for title, names in _GROUPS.items():
            if option.name in names.split():
                return title
        return "Settings"

    def groups(self) -> Sequence[str]:
        """The headings in their order."""
        return tuple(_GROUPS)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {title: [] for title in self.groups()}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                last = "--help" in option.opts
                records["Output" if last else self.group_of(option)].append(record)
        if sum(map(len, records.values())) < _FEW:
            records = {"Options": [record for group in records.values() for record in group]}
        for title, found in records.items():
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)
