#!/usr/bin/env python3
"""handlers_doc_test.py SOURCE_FOLDER: the C++ snippets of docs/handlers.md stand in an example that is compiled."""
import pathlib
import re
import sys


def lines_of(text):
    """Without indentation, empty lines, and comments that only the document has."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def main():
    root = pathlib.Path(sys.argv[1])
    document = (root / "docs/handlers.md").read_text()
    compiled = ["\n".join(lines_of(path.read_text())) for path in sorted((root / "worker/examples").glob("*.cc"))]
    compiled += ["\n".join(lines_of(path.read_text())) for path in sorted((root / "worker/examples").glob("*.h"))]
    snippets = re.findall(r"```cpp\n(.*?)```", document, re.S)
    if len(snippets) < 8:
        sys.exit(f"docs/handlers.md has {len(snippets)} snippets in C++; where are the others?")
    missing = [snippet for snippet in snippets if not any("\n".join(lines_of(snippet)) in text for text in compiled)]
    for snippet in missing:
        print("not in worker/examples:\n" + snippet)
    print(f"{len(snippets) - len(missing)} of {len(snippets)} snippets are compiled")
    sys.exit(1 if missing else 0)


main()
