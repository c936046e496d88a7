"""What MkDocs asks while it builds docs/: links that lead out of docs/ lead to copies within the site.

Pages link to logs, scripts and READMEs as they lie in the repository (`../recipes/results/laptop`), so that the links
work where the repository is read, too. A file is copied to `repository/` of the site; a README or another Markdown
file, and the list of what a folder holds, become pages there.
"""

import functools
import os
import pathlib
import re

from mkdocs.structure.files import File, InclusionLevel

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+|[^):#\s]+)(#[^)]*)?(\))")
_REPOSITORY = "repository"  # the folder of the site


def on_files(files, config):
    """Adds what the pages link to, and what those link to."""
    waiting = {
        target
        for file in files.documentation_pages()
        for target in _targets(_home(file.src_uri), file.content_string)
    }
    done = set()
    while waiting:
        target = waiting.pop()
        done.add(target)
        uri = _uri(target)
        if target.is_dir() or target.suffix == ".md":
            text = _listing(target) if target.is_dir() else target.read_text("utf-8")
            page = File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(page)
            home = target if target.is_dir() else target.parent
            waiting |= {each for each in _targets(home, text) if _outside(each)} - done
        else:
            files.append(File.generated(config, uri, abs_src_path=str(target)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links that lead out of docs/ to the copies."""
    here = _home(page.file.src_uri)

    def within(match):
        target = _resolved(here, match[2])
        if target is None:
            return match[0]
        start = pathlib.PurePosixPath(page.file.src_uri).parent
        return f"{match[1]}{os.path.relpath(_uri(target), start)}{match[3] or ''}{match[4]}"

    return _LINK.sub(within, markdown)


def _home(uri):
    """The folder of the repository that the links of a page begin at."""
    parts = pathlib.PurePosixPath(uri).parts
    if parts[0] != _REPOSITORY:
        return (DOCS / uri).parent
    target = ROOT.joinpath(*parts[1:])
    return target.parent


def _targets(home, text):
    found = (_resolved(home, match[2]) for match in _LINK.finditer(text))
    return {target for target in found if target is not None and _outside(target)}


def _outside(target):
    return not target.is_relative_to(DOCS)


@functools.cache
def _resolved(home, link):
    target = pathlib.Path(os.path.normpath(home / link))
    return target if target.exists() and target.is_relative_to(ROOT) else None


def _uri(target):
    if not _outside(target):
        return target.relative_to(DOCS).as_posix()
    inside = pathlib.PurePosixPath(_REPOSITORY, target.relative_to(ROOT).as_posix())
    return str(inside / "index.md" if target.is_dir() else inside)


def _listing(folder):
    names = sorted(
        path.name for path in folder.iterdir() if path.is_file() and path.name[0] not in "._"
    )
    pictures = "".join(f"\n![{name}]({name})\n" for name in names if name.endswith(".png"))
    where = folder.relative_to(ROOT).as_posix()
    return (
        f"# {where}/\n\nFiles of the repository:\n\n"
        + "".join(f"- [{name}]({name})\n" for name in names)
        + pictures
    )
