"""What a browser is given: the page at /, the server's addresses as OpenAPI and as a page. No outside resource."""

import html
import importlib.resources
import json

from keras_resnet.serving.server import openapi

# No script and no style but the files of these pages, and nothing from elsewhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json; charset=utf-8",
}


def files(version: str) -> dict[str, tuple[bytes, str]]:
    """Path -> content and media type; version: of the server."""
    folder = importlib.resources.files(__package__) / "page"
    read = {file.name: file.read_bytes() for file in folder.iterdir()}
    described = openapi.description(version)
    found = {f"/page/{name}": content for name, content in read.items()}
    found["/"] = found.pop("/page/index.html")
    found["/openapi.json"] = json.dumps(described, indent=1).encode()
    found["/docs"] = addresses(described).encode()
    return {
        path: (content, _KINDS[path.rpartition(".")[2] if "." in path else "html"])
        for path, content in found.items()
    }


def addresses(described: dict) -> str:
    """An OpenAPI description as a page."""
    groups = {
        tag["name"]: [f"<h2>{html.escape(tag['description'])}</h2>\n<dl>"]
        for tag in described["tags"]
    }
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]] += [
                f"<dt><code><strong>{method.upper()}</strong> {html.escape(path)}</code></dt>",
                f"<dd>{html.escape(operation['summary'])}</dd>",
            ]
    body = "\n".join("\n".join([*lines, "</dl>"]) for lines in groups.values())
    title = html.escape(described["info"]["title"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/page.css">
</head>
<body>
<header><h1>{title}</h1></header>
<main class="addresses">
<p>{html.escape(described["info"]["description"])} The bodies are described in
<a href="/openapi.json">openapi.json</a>.</p>
{body}
</main>
<footer><a href="/">The page</a> · <a href="/metrics">Metrics</a></footer>
</body>
</html>
"""
