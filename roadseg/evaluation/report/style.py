"""How the report page looks."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
:root { --ink: #1c2430; --soft: #5c6878; --line: #dfe4ea; --paper: #fff; --wash: #f4f6f8;
  --blue: #1f6fb2; --amber: #ffc43d; --rose: #d62860; --pale: #c9d3de; --grey: #8b97a6;
  --right: 31 111 178; --wrong: 214 40 96; --rim: rgb(0 0 0 / 25%); color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --soft: #9ba6b4; --line: #303841; --paper: #1a1f26; --wash: #11151a;
    --blue: #58a6e0; --pale: #3d4854; --right: 52 132 201; --wrong: 226 62 116;
    --rim: rgb(255 255 255 / 30%); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 0 0 4px; }
p { margin: 0 0 12px; }
.lead, .note, figcaption { color: var(--soft); }
.note { font-size: .9rem; max-width: 72ch; }
.origin { margin: 8px 0 0; font-size: .84rem; color: var(--soft); }
.origin div { display: flex; gap: 8px; }
.origin dt { flex: 0 0 4.8em; font-weight: 600; }
.origin dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin-top: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px;
  margin-top: 16px; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 14px; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.tile small { font-size: .62em; font-weight: 500; color: var(--soft); }
.tile span { color: var(--soft); font-size: .82rem; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
  gap: 0 16px; align-items: start; }
.two > section { height: calc(100% - 16px); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.classes { width: 100%; font-size: .92rem; }
.classes th { color: var(--soft); font-weight: 500; text-align: right; padding: 4px 6px; }
.classes th:first-child, .classes td:first-child { text-align: left; padding-left: 0;
  white-space: nowrap; }
.classes th:nth-child(2) { text-align: left; }
.classes td { text-align: right; padding: 4px 6px; border-top: 1px solid var(--line); }
.classes td.bar { width: 30%; }
.classes .track { display: flex; align-items: center; gap: 8px; }
.classes .track div { flex: 1; }
.classes .track i { display: block; height: 9px; border-radius: 3px; background: var(--blue);
  min-width: 1px; }
.classes .track span { min-width: 2.4em; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  margin-right: 8px; vertical-align: -1px; border: 1px solid var(--rim); }
.scroll { overflow-x: auto; }
.confusion { font-size: .78rem; margin: 0 auto; }
.confusion th { font-weight: 500; padding: 2px 5px; }
.confusion tbody th { text-align: right; white-space: nowrap; position: sticky; left: 0;
  background: var(--paper); }
.confusion thead th { vertical-align: bottom; height: 84px; padding: 0 0 4px; }
.confusion thead th span { writing-mode: vertical-rl; transform: rotate(180deg); }
.confusion td { width: 36px; min-width: 23px; height: 29px; text-align: center; padding: 0;
  border: 1px solid var(--paper); }
.confusion td.right { background: rgb(var(--right) / var(--s)); }
.confusion td.wrong { background: rgb(var(--wrong) / var(--s)); }
.confusion td.strong { color: #fff; }
.list { margin: 10px 0 0; padding: 0; list-style: none; font-size: .9rem; color: var(--soft);
  display: flex; flex-wrap: wrap; gap: 2px 18px; }
.list b { color: var(--ink); font-weight: 600; }
figure { margin: 14px 0 0; }
figcaption { font-size: .9rem; margin-bottom: 4px; }
figcaption b { color: var(--ink); }
.shots { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; }
.shots a { position: relative; }
.shots img { display: block; width: 100%; height: auto; border-radius: 5px; }
.shots span { position: absolute; left: 6px; top: 6px; background: rgb(0 0 0 / 62%); color: #fff;
  font-size: .74rem; line-height: 1; padding: 4px 6px; border-radius: 4px; }
.key { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .84rem; color: var(--soft);
  margin: 6px 0 0; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; background: var(--soft); }
.key i.errors { background: var(--blue); } .key i.share { background: var(--pale); }
.key i.ideal, .key i.pixels { background: var(--grey); }
.key i.near { background: var(--amber); } .key i.inner { background: var(--rose); }
.legend { margin-top: 12px; } .legend i { border: 1px solid var(--rim); }
.chart { max-width: 560px; margin: 8px auto 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
svg .axis { fill: var(--ink); }
svg .grid { stroke: var(--line); fill: none; } svg .frame { stroke: var(--soft); fill: none; }
svg rect.share { fill: var(--pale); }
svg polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
svg polyline.ideal { stroke: var(--grey); stroke-dasharray: 5 4; stroke-width: 1.6; }
svg polyline.pixels { stroke: var(--grey); } svg circle.pixels { fill: var(--grey); }
svg polyline.errors { stroke: var(--blue); } svg circle.errors { fill: var(--blue); }
footer { color: var(--soft); font-size: .84rem; margin-top: 18px; overflow-wrap: anywhere; }
@media (max-width: 620px) {
  body { font-size: 15px; }
  main { padding: 16px 10px 32px; }
  section { padding: 14px 12px; }
  h1 { font-size: 1.35rem; }
  .tiles { grid-template-columns: repeat(3, 1fr); gap: 6px; }
  .tile { padding: 8px 9px; } .tile b { font-size: 1.2rem; }
  .tile span { font-size: .74rem; }
  .shots { grid-template-columns: repeat(2, 1fr); }
  .classes { font-size: .84rem; } .classes th, .classes td { padding: 3px 4px; }
  .classes td.bar { width: 26%; }
  .confusion { font-size: .68rem; } .confusion td { width: 24px; height: 24px; }
  .confusion th { padding: 1px 3px; }
}
@media print {
  :root { --ink: #1c2430; --soft: #5c6878; --line: #dfe4ea; --paper: #fff; --wash: #fff; }
  section { break-inside: avoid; } }
"""
