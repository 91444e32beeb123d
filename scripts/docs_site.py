"""What MkDocs needs to make a site of the same Markdown that is read in the repository.

Pages outside docs/ are taken in under their path; links follow them. A link to a file that is no
page, such as a manifest, becomes its path as text.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def _outside(config: MkDocsConfig) -> dict[str, str]:
    """Where each page of the site that lies outside docs/ comes from, by its path in the site."""
    found = {"index.md": "README.md"}
    waiting = list(config.nav or [])
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            waiting += entry.values()
        elif isinstance(entry, list):
            waiting += entry
        elif entry.startswith("project/"):
            found[entry] = entry.removeprefix("project/")
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the pictures beside them, that lie outside docs/."""
    for place, source in _outside(config).items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text()))
        if place.startswith("project/"):
            for picture in (ROOT / source).parent.glob("*.png"):
                path = str(PurePosixPath(place).parent / picture.name)
                files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point each link at the page of the site that its target has become."""
    outside = _outside(config)
    sites = {source: place for place, source in outside.items()}
    place = page.file.src_uri
    source = PurePosixPath(outside.get(place, f"docs/{place}"))

    def link(found: re.Match[str]) -> str:
        picture, text, target, anchor = found.groups()
        path = os.path.normpath(source.parent / target)
        to = sites.get(path, path.removeprefix("docs/") if path.startswith("docs/") else path)
        if to not in files.src_uris and f"project/{path}" in files.src_uris:
            to = f"project/{path}"
        if to not in files.src_uris:
            if not (ROOT / path).exists():
                return found[0]  # MkDocs says that there is no such file
            return text if text.startswith("`") else f"{text} (`{path}`)"
        relative = os.path.relpath(to, PurePosixPath(place).parent)
        return f"{picture}[{text}]({relative}{anchor or ''})"

    parts = FENCED.split(markdown)
    return "".join(part if index % 2 else LINK.sub(link, part) for index, part in enumerate(parts))
