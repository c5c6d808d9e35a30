"""Lets mkdocs build a site from the pages of the whole repository, where they link to each other as files."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = ("*.md", "benchmarks/**/*.md", "benchmarks/**/*.png", "findings/*.md")  # of docs/; all others are source
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages and pictures outside of ``docs/``, under their paths in the repository."""
    for pattern in OUTSIDE:
        for path in ROOT.glob(pattern):
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links at where pages are in the site; a link to a source file becomes its text alone."""
    here = page.file.src_uri
    in_docs = (ROOT / "docs" / here).exists()
    folder = posixpath.dirname(f"docs/{here}" if in_docs else here)

    def moved(match):
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        name = target.removeprefix("docs/")
        if target.startswith("docs/") == (ROOT / "docs" / name).exists() and files.get_file_from_path(name):
            return f"{match[1]}{posixpath.relpath(name, posixpath.dirname(here) or '.')}{match[3] or ''})"
        return "](#)" if (ROOT / target).exists() else match[0]  # a file of source, which the site does not have

    return re.sub(r"\[([^\]]*)\]\(#\)", r"\1", LINK.sub(moved, markdown))
