"""The worst photos as one self-contained HTML page: images are data URIs, and nothing is fetched or run."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from campus_visual_gps.errors import printable
from training.active.training_photos import Neighbour
from training.active.worst_figure import Card
from training.active.worst_text import facts, heading, metres, neighbour_caption

# Light and dark by the reader's setting; maps stay on white.
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #f2f2f2; --line: #c8c8c8;
  --label: #0072b2; --prediction: #d55e00; --link: #0b4f9e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --soft: #232323; --line: #4a4a4a;
  --label: #56b4e9; --prediction: #f0884a; --link: #8ab8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
a:focus-visible, article:focus-visible { outline: 3px solid var(--prediction); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
table { border-collapse: collapse; font-size: .9rem; } .scroll { overflow-x: auto; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
article { margin: 1.5rem 0; padding: 1rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--soft); }
h2, h3 { overflow-wrap: anywhere; } article h2 { margin: 0 0 .6rem; font-size: 1.25rem; }
h3 { margin: .8rem 0 .3rem; font-size: 1rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.pair > * { flex: 1 1 18rem; max-width: 34rem; margin: 0; }
img { max-width: 100%; height: auto; display: block; border-radius: .2rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: .8rem 0; font-size: .95rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.groups { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.thumbs { display: flex; flex-wrap: wrap; gap: .6rem; } .thumbs figure { margin: 0; width: 10.5rem; }
.thumbs img { border: 4px solid; width: 100%; }
.label img { border-color: var(--label); } .prediction img { border-color: var(--prediction); }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .3rem; } }
@media print { .skip, article nav { display: none; } article { break-inside: avoid; } }
"""
_MAP_URL = "https://www.google.com/maps/search/?api=1&query="


@dataclass(frozen=True)
class Summary:
    """What stands above the photos.

    Attributes:
        title: Of the page.
        lines: (name, value) of the evaluation and of its worst photos.
        note: What is below them.
    """

    title: str
    lines: Sequence[tuple[str, str]]
    note: str


def page(summary: Summary, cards: Sequence[Card]) -> str:
    """The whole page."""
    last = cards[-1].rank if cards else 0
    content = "\n".join(_article(card, last) for card in cards) or "<p>There is no such photo.</p>"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_text(summary.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#photos">Skip to the photos</a>
<header id="top">
<h1>{_text(summary.title)}</h1>
{_definitions(summary.lines)}
<p>{_text(summary.note)}</p>
</header>
<nav aria-label="Photos">
{_index(cards)}
</nav>
<main id="photos">
{content}
</main>
</body>
</html>
"""


def _text(text: str) -> str:
    """Any text, such as the name of a folder, as HTML."""
    return html.escape(printable(str(text)))


def _definitions(pairs: Sequence[tuple[str, str]], more: str = "") -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in pairs)
    return f"<dl>{rows}{more}</dl>"


def _index(cards: Sequence[Card]) -> str:
    rows = "".join(
        f'<tr><td class="number"><a href="#photo-{card.rank}">{card.rank}</a></td>'
        f'<td class="number">{_text(metres(card.material.row["error_m"], "none"))}</td>'
        f"<td>{_text(card.material.row['file'])}</td><td>{_text(card.material.row['session'])}</td>"
        f"<td>{'night' if card.material.night else ''}</td>"
        f"<td>{'yes' if card.material.agree_against_label else ''}</td></tr>"
        for card in cards
    )
    head = "<th>photo</th><th>error</th><th>file</th><th>session</th><th>light</th><th>members agree against label</th>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _article(card: Card, last: int) -> str:
    row, rank = card.material.row, card.rank
    title = _text(heading(card.material, rank))
    photo = _image(card.photo_jpeg, "jpeg", f"Photo {row['file']}") or "<p>no stored copy</p>"
    plan = _image(card.map_png, "png", f"Map of label and prediction of {row['file']}")
    links = _map_link("label", row["label_latitude_deg"], row["label_longitude_deg"])
    links += _map_link("prediction", row["predicted_latitude_deg"], row["predicted_longitude_deg"])
    more = f"<dt>photo_id</dt><dd><code>{_text(row['photo_id'])}</code></dd><dt>in a map</dt><dd>{links}</dd>"
    return f"""<article id="photo-{rank}" tabindex="-1" aria-labelledby="title-{rank}">
<h2 id="title-{rank}">{title}</h2>
<div class="pair"><figure>{photo}</figure><figure>{plan}</figure></div>
{_definitions(facts(card.material), more)}
<div class="groups">
{_thumbnails("label", "L", card.near_label)}
{_thumbnails("prediction", "P", card.near_prediction)}
</div>
<nav aria-label="From photo {rank}">{_steps(rank, last)}</nav>
</article>"""


def _thumbnails(what: str, letter: str, found: Sequence[tuple[Neighbour, bytes]]) -> str:
    items = "".join(
        f"<figure>{_image(jpeg, 'jpeg', f'Training photo {near.file}')}"
        f"<figcaption>{_text(neighbour_caption(near, f'{letter}{number}'))}</figcaption></figure>"
        for number, (near, jpeg) in enumerate(found, start=1)
    )
    content = f'<div class="thumbs {what}">{items}</div>' if items else "<p>none</p>"
    return f"<section><h3>Training photos near the {what}</h3>{content}</section>"


def _steps(rank: int, last: int) -> str:
    steps = [] if rank <= 1 else [f'<a href="#photo-{rank - 1}">previous</a>']
    steps += [] if rank >= last else [f'<a href="#photo-{rank + 1}">next</a>']
    return " · ".join([*steps, '<a href="#top">top</a>'])


def _map_link(name: str, latitude: float, longitude: float) -> str:
    if math.isnan(latitude) or math.isnan(longitude):
        return ""
    target = html.escape(f"{_MAP_URL}{latitude:.7f},{longitude:.7f}")
    return f'<a href="{target}" target="_blank" rel="noopener noreferrer">{name}</a> '


def _image(data: bytes, kind: str, alternative: str) -> str:
    if not data:
        return ""
    encoded = base64.b64encode(data).decode("ascii")
    return f'<img alt="{_text(alternative)}" src="data:image/{kind};base64,{encoded}">'
