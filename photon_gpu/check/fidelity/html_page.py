"""Write a report as one HTML page without external files or scripts."""

from __future__ import annotations

from html import escape

from photon_gpu.check.fidelity.figure_data import FidelityFacts
from photon_gpu.check.fidelity.figures import STATUS, svg
from photon_gpu.check.fidelity.property_verdicts import ReportLine
from photon_gpu.check.warn_failed_checks import tally

_GROUPS = (
    ("Is it the right model and step?", ("noise_model", "snr", "information", "efficiency")),
    ("Does every pixel hold?", ("escaped", "inverse", "clipped", "worst")),
    ("Is the light the same?", ("bias", "averages", "labels", "percentiles")),
    ("Is the noise the same?", ("variance", "slope", "uniform", "white", "uncorrelated")),
    ("Do analyses find the same?", ("dff", "events")),
)
_WORDS = {
    "PASS": "Only detail below the noise was lost.",
    "WARN": "Nothing failed; read the lines in orange before you rely on this movie.",
    "FAIL": "Do not rely on this movie before the lines in red are understood.",
}
_STYLE = """
:root { color-scheme: light; --ink: #222b33; --soft: #5d6975; --line: #e3e7eb; --page: #f4f6f8; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 24px 60px; }
header { display: flex; gap: 22px; align-items: center; margin-bottom: 22px; }
h1 { font-size: 24px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0; padding: 14px 18px 10px; border-bottom: 1px solid var(--line); }
.soft { color: var(--soft); }
.verdict { color: #fff; font-size: 26px; font-weight: 700; letter-spacing: .04em; padding: 12px 22px;
  border-radius: 12px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 14px;
  margin-bottom: 18px; }
.tile, .card { background: #fff; border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 12px 16px; }
.tile b { display: block; font-size: 22px; font-weight: 650; }
.tile span { color: var(--soft); font-size: 13px; }
.card { margin-bottom: 18px; overflow: hidden; }
.row { display: grid; grid-template-columns: 64px minmax(240px, 5fr) minmax(260px, 6fr); gap: 6px 16px;
  padding: 10px 18px; border-top: 1px solid var(--line); align-items: baseline; }
h2 + .row { border-top: 0; }
.pill { color: #fff; font-size: 11.5px; font-weight: 700; letter-spacing: .05em; border-radius: 999px;
  padding: 3px 0;
  text-align: center; }
.row strong { font-weight: 600; }
.cause { display: block; color: #a33c00; font-weight: 600; }
details { grid-column: 2 / 4; color: var(--soft); font-size: 13px; }
summary { cursor: pointer; }
.plots { display: grid; grid-template-columns: repeat(3, 1fr); gap: 14px; padding: 14px; }
.plots .wide { grid-column: 1 / 3; }
.plots svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font-size: 14px; }
td { padding: 3px 18px 3px 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: var(--soft); white-space: nowrap; }
@media (max-width: 860px) { .row { grid-template-columns: 64px 1fr; } .row > :nth-child(3) { grid-column: 2; }
  details { grid-column: 2; } .plots { grid-template-columns: 1fr; } .plots .wide { grid-column: 1; } }
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
"""


def page(fidelity: FidelityFacts) -> str:
    """Return the page as text."""
    facts = fidelity.facts
    looked_at = "; ".join(filter(None, (facts["looked_at"], facts.get("truncated"))))
    colour = STATUS[fidelity.verdict]
    summary = tally(fidelity.lines)
    tiles = [
        (f"{facts['ratio']:.2f}x", "smaller than the raw movie"),
        (f"{facts['bits_per_pixel']:.2f}", "bits per pixel"),
        (f"{facts['step']:g} sigma" if facts["step"] else "none", "quantization step"),
        (_number(fidelity, "snr", "{:.2f} %"), "of the signal-to-noise ratio lost"),
        (_number(fidelity, "bias", "{:.2f} %"), "of a sigma: bias beyond its error"),
    ]
    shown = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="photon_gpu"><title>{fidelity.verdict}: {escape(fidelity.url)}</title>
<style>{_STYLE}</style></head><body><main>
<header><div class="verdict" style="background:{colour}">{fidelity.verdict}</div>
<div><h1>Fidelity of {escape(fidelity.url)}</h1>
<div class="soft">{_WORDS[fidelity.verdict]} {summary}. Looked at {escape(looked_at)}.</div>
</div></header>
<section class="tiles">{shown}</section>
{"".join(_group(title, names, fidelity) for title, names in _GROUPS)}
{_plots(fidelity)}
{_card("What was compared", f'<div style="padding:12px 18px"><table>{_facts(fidelity)}</table></div>')}
</main></body></html>
"""


def _group(title: str, names: tuple[str, ...], fidelity: FidelityFacts) -> str:
    rows = "".join(_row(line) for name in names for line in fidelity.lines if line.name == name)
    return _card(title, rows) if rows else ""


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{title}</h2>{body}</section>'


def _row(line: ReportLine) -> str:
    cause = f'<span class="cause">{escape(line.cause)}</span>' if line.cause else ""
    return (
        f'<div class="row" data-line="{line.name}" data-status="{line.status}">'
        f'<div class="pill" style="background:{STATUS[line.status]}">{line.status}</div>'
        f"<strong>{escape(line.title)}</strong><div>{escape(line.found)}{cause}</div>"
        f"<details><summary>{escape(line.limit.text())}</summary>{escape(line.limit.reason)}.</details></div>"
    )


def _plots(fidelity: FidelityFacts) -> str:
    if fidelity.pictures is None:
        return ""

    def figures(*names: str) -> str:
        return "".join(
            f'<div{" class=wide" if name == "traces" else ""} data-plot="{name}">{svg(name, fidelity)}</div>'
            for name in names
        )

    parts = {
        "One frame": ("raw", "decoded", "residual"),
        "Light and noise": ("transfer", "bias", "variance", "noise", "histogram", "whiteness"),
        "Traces and values": ("traces", "trace_errors", "values"),
    }
    return "".join(
        _card(title, f'<div class="plots">{figures(*names)}</div>') for title, names in parts.items()
    )


def _facts(fidelity: FidelityFacts) -> str:
    facts, noise = fidelity.facts, fidelity.facts["noise"]
    models = facts.get("channel_noise") or [noise]
    texts = [
        "none"
        if one is None
        else (
            f"gain {one['gain']:g} ADU/photon, offset {one['offset']:g} ADU, variance "
            f"{one['variance']:g} ADU²"
        )
        for one in models
    ]
    if len(texts) > 1:
        texts = [f"channel {number}: {text}" for number, text in enumerate(texts)]
    model = "; ".join(texts)
    rows = {
        "source": fidelity.source,
        "movie": fidelity.url,
        "shape": " x ".join(str(size) for size in facts["shape"]) + f" {facts['dtype']}",
        "noise model": model,
        "layout": facts["layout"],
        "step": f"{facts['step']} sigma" if facts["step"] else "nothing was quantized",
        "dither": "none" if facts["dither"] is None else f"seed {facts['dither']}",
        "in the dark": facts["peaks"] or "as at any light",
        "bytes": f"{facts['raw_bytes']:,} raw, {facts['stored_bytes']:,} stored",
        "looked at": facts["looked_at"],
    }
    return "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in rows.items())


def _number(fidelity: FidelityFacts, name: str, form: str) -> str:
    values = [line.value for line in fidelity.lines if line.name == name and line.value is not None]
    return form.format(values[0]) if values else "n/a"
