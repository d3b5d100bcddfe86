"""Style of the audit's page; constant, so that its policy can name it by hash."""

STYLE = """
:root{color-scheme:light dark;--ink:#16191d;--quiet:#5b636d;--paper:#fff;--card:#f5f6f8;--line:#d5d9de;--mark:#c2410c;
--up:#0b7a4b;--down:#b91c1c;--m0:#d55e00;--m1:#0072b2;--m2:#009e73;--m3:#b5568f;--m4:#b57d00;--m5:#3a94c9}
@media(prefers-color-scheme:dark){
:root{--ink:#eceff3;--quiet:#9aa4af;--paper:#14171b;--card:#1d2127;--line:#343b44;--mark:#fb923c;
--up:#4ade80;--down:#f87171;--m0:#ff8a3d;--m1:#4aa8e0;--m2:#2fc79b;--m3:#e59ac6;--m4:#f0b429;--m5:#8ccff2}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:36px 28px 60px}
h1{font-size:25px;line-height:1.25;margin:0 0 6px}
h2{font-size:19px;margin:46px 0 6px;padding-top:4px}
h3{font-size:15px;margin:28px 0 2px}
p{margin:0 0 10px;max-width:88ch}
.quiet,.how{color:var(--quiet)}
.how{font-size:13.5px;margin:0 0 6px}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:14px 0 0;font-size:14px}
a{color:inherit}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px;vertical-align:baseline}
.cards{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));margin:22px 0 0}
.card{background:var(--card);border-radius:10px;padding:14px 20px}
.card h3{margin:2px 0 6px;overflow-wrap:anywhere}
.card ul{margin:0;padding-left:18px}
.card li{margin:5px 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px}
table.wide{width:100%}
th{text-align:left;color:var(--quiet);font-weight:500}
thead th{vertical-align:bottom}
th,td{padding:4px 16px 4px 0;border-bottom:1px solid var(--line);vertical-align:middle}
tbody th{color:var(--ink);white-space:nowrap}
tbody .mean th,.mean td{font-weight:600}
tbody .group th{font-weight:600}
.group th,.group td{padding-top:14px}
.wide td{white-space:nowrap}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.error{color:var(--quiet);font-size:12px;font-weight:400}
.up{color:var(--up)}
.down{color:var(--down)}
.same{color:var(--quiet)}
.change{font-size:12px;margin-left:6px}
.strip{display:block}
.strip .rail{stroke:var(--line)}
.strip .chance{stroke:var(--quiet);stroke-dasharray:2 2}
.strip text{fill:var(--quiet);font-size:11px}
.strip .hollow{fill:var(--paper)}
.warn{border-left:3px solid var(--mark);padding-left:14px}
.notes{padding-left:18px;max-width:100ch}
.notes li{margin:3px 0;overflow-wrap:anywhere}
details{border-top:1px solid var(--line);padding:12px 0}
summary{cursor:pointer;font-weight:600}
.facts th{vertical-align:top}
.facts td{overflow-wrap:anywhere}
pre{font-size:12.5px;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}
""" + "".join(
    f".m{index}{{fill:var(--m{index});stroke:var(--m{index})}}"
    f".dot.m{index}{{background:var(--m{index})}}.hollow.m{index}{{fill:var(--paper)}}"
    for index in range(6)
)
COLOURS = 6
"""Models told apart by colour; the seventh has that of the first."""
