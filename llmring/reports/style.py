"""How a page looks: its style sheet. Data.

Colours hold 4.5 to 1 against their ground for text and 3 to 1 for shapes, in both themes; series differ in lightness,
too, for those who do not tell the hues apart.
"""

STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#16191f;--soft:#5b6472;--line:#e3e6eb;
--a:#2563d9;--b:#b45309;--c:#c2322f;--d:#7a5ad6;--mark:#a16207}
@media (prefers-color-scheme:dark){:root{--ground:#0f1216;--card:#171b21;--ink:#eceff4;--soft:#9aa4b2;--line:#2a303a;
--a:#6ea3ff;--b:#f0a44b;--c:#f2706b;--d:#b9a1ff;--mark:#e0b04a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:32px 20px 48px;display:grid;grid-template-columns:1fr 1fr;gap:16px}
header,.tiles,.notes,.wide,footer{grid-column:1/-1}
.brand{margin:0;font-weight:600;color:var(--a);letter-spacing:.02em}
h1{margin:2px 0 0;font-size:28px;line-height:1.2;font-weight:650;letter-spacing:-.015em;text-wrap:balance}
.when,footer{margin:6px 0 0;color:var(--soft);font-size:13px}
.tiles{margin:8px 0 0;display:grid;grid-template-columns:repeat(6,1fr);gap:1px;background:var(--line);
border:1px solid var(--line);border-radius:12px;overflow:hidden}
.tiles div{background:var(--card);padding:14px 16px;min-width:0}
.tiles dt{color:var(--soft);font-size:13px}
.tiles dd{margin:0}
.tiles strong{display:block;font-size:23px;line-height:1.25;font-weight:650;letter-spacing:-.01em;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.tiles span{color:var(--soft);font-size:12.5px;display:block}
.notes{color:var(--soft);font-size:13.5px}
.notes p{margin:0 0 2px;max-width:90ch}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px 14px;
min-width:0;display:flex;flex-direction:column}
h2{margin:0 0 12px;font-size:16px;font-weight:620}
.plot{display:grid;grid-template-columns:auto 1fr;grid-template-rows:200px auto;column-gap:10px}
.wide .plot{grid-template-rows:230px auto}
.ticks{display:flex;flex-direction:column;justify-content:space-between;align-items:flex-end;margin:-9px 0;
color:var(--soft);font-size:12px;line-height:18px;font-variant-numeric:tabular-nums;white-space:nowrap}
svg{width:100%;height:100%;display:block;overflow:visible}
.days{grid-column:2;display:flex;justify-content:space-between;gap:8px;padding-top:8px;color:var(--soft);
font-size:12px;line-height:18px}
.days span:only-child{margin:0 auto}
.grid{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke;fill:none}
rect.a{fill:var(--a)}rect.b{fill:var(--b)}rect.c{fill:var(--c)}rect.d{fill:var(--d)}rect.mark{fill:var(--mark)}
rect.hit{fill:transparent}
g:hover rect.hit{fill:var(--line);opacity:.7}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round;vector-effect:non-scaling-stroke;
pointer-events:none}
.point{fill:none;stroke-width:7;stroke-linecap:round;vector-effect:non-scaling-stroke;pointer-events:none}
.line.a,.point.a{stroke:var(--a)}.line.b,.point.b{stroke:var(--b)}.line.b{stroke-dasharray:5 4}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 16px;margin:-6px 0 14px;padding:0;color:var(--soft);
font-size:12.5px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
i.a{background:var(--a)}i.b{background:var(--b)}i.c{background:var(--c)}i.d{background:var(--d)}
i.mark{background:var(--mark)}
.ranked{list-style:none;margin:0 0 4px;padding:0;display:grid;gap:10px}
.ranked li{display:grid;grid-template-columns:1fr auto;gap:3px 12px;font-size:14px}
.ranked .name{overflow-wrap:anywhere;min-width:0}
.ranked .amount{grid-row:1;grid-column:2;color:var(--soft);font-variant-numeric:tabular-nums;text-align:right}
.track{grid-column:1/-1;height:8px;border-radius:4px;background:var(--ground);overflow:hidden}
.bar{display:block;height:100%;min-width:2px;border-radius:4px;background:var(--a)}
details{margin-top:auto;padding-top:12px;font-size:13px}
summary{cursor:pointer;color:var(--soft);width:max-content;border-radius:4px}
summary:hover{color:var(--ink)}
:focus-visible{outline:2px solid var(--a);outline-offset:2px}
.scroll{overflow-x:auto;margin-top:8px;max-height:420px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:12.5px;min-width:100%}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line);font-weight:400}
th:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:550;position:sticky;top:0;background:var(--card)}
footer{margin-top:8px}
@media (max-width:820px){main{grid-template-columns:1fr;padding:24px 14px 36px;gap:12px}
.tiles{grid-template-columns:repeat(2,1fr)}h1{font-size:23px}figure{padding:16px 14px 12px}
.plot,.wide .plot{grid-template-rows:180px auto}.tiles strong{font-size:20px}}
@media print{body{background:#fff}figure{break-inside:avoid}details{display:none}}
"""
