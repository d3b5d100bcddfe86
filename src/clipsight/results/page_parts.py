"""Style and script of the self-contained page; constant, so that its policy can name them by hash."""

STYLE = """
:root{color-scheme:light dark;--ink:#16191d;--quiet:#5b636d;--paper:#fff;--card:#f5f6f8;--line:#d5d9de;--mark:#c2410c}
@media(prefers-color-scheme:dark){
:root{--ink:#eceff3;--quiet:#9aa4af;--paper:#14171b;--card:#1d2127;--line:#343b44;--mark:#fb923c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1320px;margin:0 auto;padding:32px 28px;display:grid;gap:36px;
grid-template-columns:minmax(0,1.7fr) minmax(280px,1fr);align-items:start}
@media(max-width:860px){main{grid-template-columns:minmax(0,1fr);padding:18px}}
figure{margin:0;position:sticky;top:24px}
.stage{position:relative;display:inline-block;max-width:100%;border-radius:10px;overflow:hidden;line-height:0;
cursor:crosshair}
.photo{max-width:100%;max-height:76vh;filter:grayscale(.75) brightness(.9)}
.photo.plain{filter:none}
.layer{position:absolute;inset:0;width:100%;height:100%}
.scale{margin-top:12px}
.bar{width:100%;height:10px;border-radius:5px;display:block}
.ticks{display:flex;justify-content:space-between;color:var(--quiet);font-size:13px;margin-top:3px}
.controls{display:flex;gap:24px;align-items:center;justify-content:space-between;flex-wrap:wrap;margin-top:10px}
.controls label{display:flex;gap:10px;align-items:center}
.opacity{accent-color:var(--mark);width:180px}
.probe{color:var(--quiet);font-variant-numeric:tabular-nums}
h1{font-size:21px;line-height:1.3;margin:0 0 14px}
.texts{display:grid;gap:6px;max-height:56vh;overflow-y:auto}
.texts label{display:flex;gap:10px;align-items:center;background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:8px 12px;cursor:pointer}
.texts label:has(:checked){border-color:var(--mark);box-shadow:inset 3px 0 0 var(--mark)}
.texts input{accent-color:var(--mark);flex:none}
.name{flex:1;min-width:0;overflow-wrap:anywhere}
meter{width:64px;flex:none}
.value{font-variant-numeric:tabular-nums;color:var(--quiet);width:2.4em;text-align:right;flex:none}
.legend{color:var(--quiet);font-size:13px;margin:2px 2px 0;text-align:right}
.words{border-left:3px solid var(--line);padding-left:14px;margin:18px 0}
details{border-top:1px solid var(--line);padding-top:12px}
summary{cursor:pointer;font-weight:600}
table{border-collapse:collapse;font-size:13px;margin-top:8px;width:100%}
th{text-align:left;color:var(--quiet);font-weight:500;vertical-align:top;padding:4px 14px 4px 0;white-space:nowrap}
td{padding:4px 0;overflow-wrap:anywhere}
"""

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = s => document.querySelector(s);
const photo = at(".photo"), layer = at(".layer"), stage = at(".stage"), probe = at(".probe"), slider = at(".opacity");
const quiet = probe.textContent;
let now = 0;
function show(k) {
  now = k;
  const t = data.texts[k];
  layer.src = t.layer;
  at(".low").textContent = t.low;
  at(".high").textContent = t.high;
  at(".words").textContent = t.words;
}
document.querySelectorAll("[name=text]").forEach(r => r.addEventListener("change", () => show(+r.value)));
slider.addEventListener("input", () => {
  layer.style.opacity = slider.value / 100;
  photo.classList.toggle("plain", slider.value === "0");
});
stage.addEventListener("pointermove", e => {
  const box = stage.getBoundingClientRect(), map = data.texts[now].map;
  const u = Math.min(Math.max((e.clientX - box.left) / box.width, 0), 0.999999);
  const v = Math.min(Math.max((e.clientY - box.top) / box.height, 0), 0.999999);
  const score = map[Math.floor(v * map.length)][Math.floor(u * map[0].length)];
  const x = Math.floor(u * data.size[1]), y = Math.floor(v * data.size[0]);
  probe.textContent = "x " + x + ", y " + y + ": " + (score === null ? "no score" : score.toPrecision(3));
});
stage.addEventListener("pointerleave", () => { probe.textContent = quiet; });
const chosen = at("[name=text]:checked");
if (chosen) show(+chosen.value);
"""
