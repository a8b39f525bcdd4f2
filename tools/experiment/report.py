"""The report: a template's prose, with tables, claims and pictures made of the records alone.

In a template {{word argument}} is replaced by what the method of that name returns.
"""

import re
from pathlib import Path

from claims import MISSING, NO, judge
from description import Mistake
from facts import Facts
from markdown import number
from pictures import Pictures
from records import Records
from tables import Tables
from work import is_settled


class Report:
    def __init__(self, description, program, path):
        self.description, self.d, self.path = description, description.d, Path(path)
        self.records = Records(description)
        self.tables = Tables(description, self.records)
        facts = Facts(description, self.records)
        pictures = Pictures(description, self.records, self.tables, program, self.path)
        self.words = {
            "title": lambda: description.title,
            "status": self.status,
            "setup": facts.setup,
            "commands": facts.commands,
            "table": self.tables.table,
            "claims": self.tables.claims,
            "ablations": self.tables.ablations,
            "every_run": self.tables.every_run,
            "layers": pictures.layers,
            "picture": pictures.picture,
        }

    def status(self):
        """The first line: whether the comparison counts, and whether all of it is there."""
        lines = []
        for claim in self.d["claims"]:
            if not claim.get("void"):
                continue
            seen = judge(claim, self.records)
            if seen.verdict == NO:
                lines.append(
                    f"**VOID: {claim['name']}: {self.tables.value_of(claim, seen.of)}, below "
                    f"{number(seen.margin, seen.of.unit)}. The comparison says nothing.**"
                )
            elif seen.verdict == MISSING:
                lines.append(f"**Not measured yet: {claim['name']}.**")
            else:
                lines.append(
                    f"{claim['name']}: {self.tables.value_of(claim, seen.of)}; the comparison "
                    f"counts (void below {number(seen.margin, seen.of.unit)})."
                )
        left = [job for job in self.description.jobs if not is_settled(job)]
        if left:
            lines.append(
                f"**Not finished: {len(left)} of {len(self.description.jobs)} jobs are missing.**"
            )
        return "\n\n".join(lines)

    def write(self):
        template = self.description.path.parent / self.d["template"]

        def place(match):
            word, *arguments = match[1].split()
            if word not in self.words:
                known = ", ".join(self.words)
                raise Mistake(f"{template}: {match[0]}: expected one of {known}")
            section = {"table": "tables", "picture": "pictures", "layers": "runs"}.get(word)
            if len(arguments) != (section is not None) or (
                section and arguments[0] not in self.d[section]
            ):
                known = ", ".join(self.d[section]) if section else "nothing behind the word"
                raise Mistake(f"{template}: {match[0]}: expected {known}")
            return self.words[word](*arguments)

        try:
            text = template.read_text()
        except OSError as problem:
            raise Mistake(f"{template}: {problem.strerror}") from None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(re.sub(r"\{\{([^}]+)\}\}", place, text))
