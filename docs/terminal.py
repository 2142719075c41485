"""Runs `gradus train fashion-bn` and draws what it says, as docs/terminal.svg; the machine should have nothing else to do.

    cargo build --release --package gradus-cli && python3 docs/terminal.py
"""

import html
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMAND = ["train", "fashion-bn"]
# Of a letter and a line, in pixels, and of the frame around them.
LETTER, LINE, LEFT, TOP = 8.4, 19, 20, 54
# One that does not break: browsers make one space of several others.
SPACE = "\u00a0"


def said():
    """What stands on the terminal, up to the table beside the document's numbers."""
    with tempfile.TemporaryDirectory() as place:
        run = subprocess.run([ROOT / "target/release/gradus", *COMMAND], cwd=place, check=True, text=True, capture_output=True)
    table = run.stdout.split("\n\n")[0].split("\ntest")[0].rstrip("\n").split("\n")
    return run.stderr.rstrip("\n").split("\n"), table[:5]


def main():
    talk, table = said()
    lines = [("$ gradus " + " ".join(COMMAND), ' fill="#8fd18f"')]
    lines += [(line, "") for line in talk] + [(line, ' fill="#8ab4f8"') for line in table]
    width = round(2 * LEFT + LETTER * max(len(line) for line, _ in lines))
    height = TOP + LINE * len(lines) + 2
    circles = "".join(f'<circle cx="{x}" cy="18" r="6" fill="{c}"/>' for x, c in [(20, "#e0645c"), (40, "#e3b341"), (60, "#58a65c")])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-label="A terminal in which gradus trains fashion-bn">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#1b1f27"/>',
        f"<g>{circles}</g>",
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#d6dae2">',
    ]
    for i, (line, fill) in enumerate(lines):
        length = f"{LETTER * len(line):.1f}"
        out.append(f'<text x="{LEFT}" y="{TOP + LINE * i}"{fill} textLength="{length}">{html.escape(line).replace(" ", SPACE)}</text>')
    (ROOT / "docs/terminal.svg").write_text("\n".join([*out, "</g></svg>", ""]))


if __name__ == "__main__":
    main()
