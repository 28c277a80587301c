#!/usr/bin/env python3
"""doc_links.py FOLDER: every link within the documentation in FOLDER leads to a file that is there, and to a heading that it has."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])


def anchors(document):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", document.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


links, broken = 0, []
for document in sorted(root.rglob("*.md")):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", document.read_text()):
        if "://" in target:
            continue
        links += 1
        file = document.parent / target if target else document
        if not file.exists():
            broken.append(f"{document.relative_to(root)}: there is no {target}")
        elif anchor and anchor not in anchors(file):
            broken.append(f"{document.relative_to(root)}: {target} has no heading #{anchor}")
print("\n".join(broken) or f"{links} links lead somewhere")
sys.exit(1 if broken or links == 0 else 0)
